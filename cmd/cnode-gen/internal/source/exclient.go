package source

import (
	"cmp"
	"errors"
	"fmt"
	"go/types"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
)

// ElixirClient writes a module that calls what a program exposes and serves, by the package cnode
// if the program may be a child with a link. It also returns what it has left out, and why.
func ElixirClient(p *Package, module string, link bool, in Project) (text []byte, unclear []string, err error) {
	if !IsAlias(ei.Atom("Elixir." + module)) {
		return nil, nil, fmt.Errorf("%q is no name of an Elixir module", module)
	}
	if err := in.check(module); err != nil {
		return nil, nil, err
	}
	calls, unclear := p.calls()
	if calls == nil {
		return nil, unclear, fmt.Errorf("package %s exposes and serves nothing: %w", p.Types.Path(), errNothing)
	}
	w := &exWriter{isClient: true, link: link, project: in, under: map[*types.Named]bool{}, modules: map[string]string{}}
	names := map[string]bool{}
	var all []string
	calls = slices.DeleteFunc(calls, func(c call) bool {
		name := ei.SnakeCase(c.name)
		if names[name] || slices.Contains(reserved, name) || !variableSyntax.MatchString(name) {
			name = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(c.module+"_"+c.name), "_"), "_")
		}
		if names[name] || !variableSyntax.MatchString(name) {
			unclear = append(unclear, fmt.Sprintf("%s:%s: there is no name for it in Elixir that is free", c.module, c.name))
			return true
		}
		names[name], all = true, append(all, name)
		return false
	})
	w.begin(all...)
	var functions strings.Builder
	for i, c := range calls {
		w.calling(&functions, all[i], c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\ndefmodule %s do\n  @moduledoc \"Calls what a node of the Go program %s exposes and serves.\"\n", Written, module,
		escape(p.Types.Path()))
	if w.types != nil {
		b.WriteString("\n" + strings.Join(w.types, ""))
	}
	b.WriteString(functions.String() + w.helpers(functions.String()) + "end\n")
	return []byte(b.String()), unclear, w.err
}

var errNothing = errors.New("it has no call of Node.Expose, Node.ExposeMethods or Node.Serve that says more")

// escape makes a text a part of a string of Elixir.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
	inside := quoted(text)
	return inside[1 : len(inside)-1]
}

// A signature is how a function of the client is declared, and what it passes on.
type signature struct {
	params, specs []string
	args          []string
	more          string // the parameter that is a list of further arguments
	result        exType
}

var parameterSyntax = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (w *exWriter) signature(name string, c call) signature {
	s := signature{params: []string{"node"}, specs: []string{"node()"}, result: exType{spec: "term()"}}
	if w.link {
		s.params, s.specs = []string{"child"}, []string{"atom()"}
	}
	if c.sig == nil { // it takes terms
		s.params, s.specs, s.more = append(s.params, "args"), append(s.specs, "[term()]"), "args"
		return s
	}
	for i := range c.sig.Params().Len() {
		v := c.sig.Params().At(i)
		if i == 0 && types.TypeString(v.Type(), nil) == "context.Context" {
			continue
		}
		param := ei.SnakeCase(v.Name())
		if !parameterSyntax.MatchString(param) || slices.Contains(reserved, param) || slices.Contains(s.params, param) {
			param = fmt.Sprintf("arg%d", i+1)
		}
		of := fmt.Sprintf("parameter %s of %s:%s", cmp.Or(v.Name(), param), c.module, c.name)
		typ := w.typeOf(v.Type(), place{name: name + "_" + param}, of)
		s.params, s.specs = append(s.params, param), append(s.specs, w.short(typ.spec, name+"_"+param, lineWidth-len("          ,")))
		if c.sig.Variadic() && i == c.sig.Params().Len()-1 {
			s.more = param
		} else {
			s.args = append(s.args, param)
		}
	}
	s.result = w.result(name, c)
	return s
}

// list is the list of the arguments.
func (s signature) list() string {
	list := "[" + strings.Join(s.args, ", ") + "]"
	switch {
	case s.more != "" && len(s.args) > 0:
		return list + " ++ " + s.more
	case s.more != "":
		return s.more
	}
	return list
}

// calling writes a function of the client.
func (w *exWriter) calling(b *strings.Builder, name string, c call) {
	s := w.signature(name, c)
	target, function := atom(c.module), atom(c.name)
	remote, server := ":erpc.call(", "{"+target+", node}"
	if w.link {
		remote, server = "Cnode.Node.call(", "Cnode.Node.to(child, "+target+")"
	}
	body := listing{remote, []string{s.params[0], target, function, s.list(), "timeout"}, ")"}
	if c.isServer {
		request := "{" + strings.Join(append([]string{function}, s.args...), ", ") + "}"
		switch {
		case s.more != "":
			request = "List.to_tuple([" + function + " | " + s.list() + "])"
		case len(s.args) == 0:
			request = function
		case c.name == "":
			request = s.args[0]
		}
		body = listing{"GenServer.call(", []string{server, request, "timeout"}, ")"}
		s.result.spec += " | {:error, term()}"
		s.result.nils = w.through(s.result.nils, "or_error", "({:error, _reason} = error), do: error", "(value), do: %s(value)")
	}
	doc := cmp.Or(strings.TrimSpace(c.doc), "Calls "+strings.TrimSuffix(c.module+":"+c.name, ":")+".")
	result := w.short(s.result.spec, name+"_result", lineWidth-len("        ) :: "))
	fmt.Fprintf(b, "\n  @doc \"%s\"\n", escape(doc))
	b.WriteString(listing{"(", append(s.specs, "timeout()"), ")"}.after("  @spec "+name, " :: "+result+"\n", "        "))
	b.WriteString(listing{"(", append(s.params, `timeout \\ 5_000`), ")"}.after("  def "+name, " do\n", "      "))
	if line := "    " + s.result.nils + "(" + body.line() + ")"; s.result.nils != "" && fits(line) {
		b.WriteString(line + "\n  end\n")
		return
	}
	b.WriteString(body.after("    ", "\n", "    "))
	if s.result.nils != "" {
		b.WriteString("    |> " + s.result.nils + "()\n")
	}
	b.WriteString("  end\n")
}

// result is the type of what nodes.FuncOf makes of a function's results.
func (w *exWriter) result(name string, c call) exType {
	n := c.sig.Results().Len()
	if n > 0 && types.TypeString(c.sig.Results().At(n-1).Type(), nil) == "error" {
		n--
	}
	if n == 0 {
		return exType{spec: ":ok"}
	}
	typ := w.typeOf(c.sig.Results().At(0).Type(), place{name: name + "_result"}, "the result of "+c.module+":"+c.name)
	if n == 2 {
		return exType{spec: "{:ok, " + typ.spec + "} | :error", nils: w.inOK(typ.nils)}
	}
	return typ
}
