// Command rules gives an Elixir system the Common Expression Language: its users write rules, such
// as `order.total < 100.0 && order.country in ["DE", "FR"]`, and Google's Go library evaluates
// them. There is none in Elixir. See README.md.
package main

import (
	"log"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/child"
)

// An Order is what rules are about: in Elixir %{total: 9.5, country: "DE", items: ["tea"]}.
type Order struct {
	Total   float64  `cel:"total"`
	Country string   `cel:"country"`
	Items   []string `cel:"items"`
}

// A Problem is what is wrong with a rule, and where.
type Problem struct {
	Line, Column int
	Message      string
}

type rules struct{ env *cel.Env }

// Check compiles a rule, as a form does while it is written.
func (r rules) Check(rule string) []Problem {
	_, issues := r.env.Compile(rule)
	problems := []Problem{}
	for _, e := range issues.Errors() {
		problems = append(problems, Problem{e.Location.Line(), e.Location.Column() + 1, e.Message})
	}
	return problems
}

// Allowed is {ok, true} if the rule holds for the order, and {error, Text} if it is no rule.
func (r rules) Allowed(rule string, order Order) (result ei.Result[bool]) {
	ast, issues := r.env.Compile(rule)
	if result.Err = issues.Err(); result.Err != nil {
		return result
	}
	program, err := r.env.Program(ast, cel.CostLimit(10_000)) // whoever writes a rule cannot stop the system by it
	if err != nil {
		return ei.Result[bool]{Err: err}
	}
	value, _, err := program.Eval(map[string]any{"order": order})
	if err != nil {
		return ei.Result[bool]{Err: err}
	}
	result.Value, _ = value.Value().(bool)
	return result
}

func main() {
	order := reflect.TypeFor[Order]()
	env, err := cel.NewEnv(ext.NativeTypes(order, ext.ParseStructTags(true)), cel.Variable("order", cel.ObjectType("main.Order")))
	if err != nil {
		log.Fatal(err)
	}
	child.Main(func(n *nodes.Node) error { return n.ExposeMethods("rules", rules{env}) })
}
