// Package permit decides by rules what a peer may ask of a node: names in, a decision out.
// Config.Rules of package nodes are such rules; a proxy for the distribution has rules of its own,
// by the same words.
//
// A [Rule] names peers, operations and targets by patterns, in which * stands for any characters,
// or none. The first rule of a [Table] that matches decides; what no rule matches is allowed, so a
// list of permissions ends with the zero Rule, which refuses everything.
package permit

import (
	"fmt"
	"strconv"
	"strings"
)

// An Op is what a peer asks for; a Rule may be about several.
type Op uint8

// The operations.
const (
	Call  Op = 1 << iota // a function whose result somebody may get: rpc, erpc
	Spawn                // a function as a process
	Send                 // any message to a process, and a monitor of it
	Link                 // a link with a process
	Exit                 // an exit signal of erlang:exit/2
	// Request is a gen_server's call or cast to a process whose answer goes to the caller, and a
	// monitor of the process: less than Send, which includes what sys and supervisors say.
	Request
	Leader // becoming the group leader of a process

	functions = Call | Spawn // those whose targets are functions
	all       = functions | Send | Link | Exit | Request | Leader
)

// Talked is the name of a process that has sent the peer something before: a target for those to
// whom the peer may send although it cannot know their pids beforehand.
const Talked = "#talked"

var opNames = [...]string{"call", "spawn", "send", "link", "exit", "request", "leader"}

// String gives the operations by name: "call", "call|spawn".
func (op Op) String() string {
	var names []string
	for i, name := range opNames {
		if op&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// ParseOp gives the operation of a name, as String writes it; "any" is all of them.
func ParseOp(name string) (Op, error) {
	if name == "any" {
		return all, nil
	}
	for i, n := range opNames {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("%q is no operation: want any, %s", name, strings.Join(opNames[:], ", "))
}

// A Rule is about what peers of some names ask for some operations on some targets. Peer and Target
// are patterns, of which "" matches everything; no Op is all. The target of Call and Spawn is
// "module:function/arity", or without arity for any; of the others a name of the process.
type Rule struct {
	Peer   string
	Op     Op
	Target string
	Allow  bool
}

// A Table is a list of rules of which the first that matches decides; where none does, the request
// is allowed.
type Table []rule

type rule struct {
	peer   string
	op     Op
	target string // of a process
	// of a function; without module: the rule is about none
	module, name, arity string
	allow               bool
}

// Compile checks rules, and makes a table of them; nil of none. Errors number rules from 1.
func Compile(rules []Rule) (t Table, err error) {
	for i, r := range rules {
		c := rule{peer: orAny(r.Peer), op: r.Op, target: orAny(r.Target), allow: r.Allow}
		if r.Op == 0 {
			c.op = all
		}
		if r.Op&^all != 0 {
			return nil, fmt.Errorf("rule %d: there is no such operation: %#x", i+1, uint8(r.Op))
		}
		if c.op&functions != 0 && !c.readFunction() && c.op&^functions == 0 {
			return nil, fmt.Errorf("rule %d: target %q: want Module:Function or Module:Function/Arity", i+1, r.Target)
		}
		t = append(t, c)
	}
	return t, nil
}

func orAny(pattern string) string {
	if pattern == "" {
		return "*"
	}
	return pattern
}

// readFunction reads the target as the pattern of a function; false if it is none.
func (r *rule) readFunction() bool {
	if r.target == "*" {
		r.module, r.name, r.arity = "*", "*", "*"
		return true
	}
	module, rest, ok := strings.Cut(r.target, ":")
	name, arity := rest, "*"
	if i := strings.LastIndexByte(rest, '/'); i > 0 {
		name, arity = rest[:i], rest[i+1:]
		if _, err := strconv.ParseUint(arity, 10, 8); err != nil && arity != "*" {
			return false
		}
	}
	if !ok || module == "" || name == "" {
		return false
	}
	r.module, r.name, r.arity = module, name, arity
	return true
}

// Function tells whether a peer may have a function run: Call or Spawn.
func (t Table) Function(peer string, op Op, module, name string, arity int) bool {
	_, ok := t.FindFunction(peer, op, module, name, arity)
	return ok
}

// FindFunction is Function, with the index of the rule that decides; -1: none does.
func (t Table) FindFunction(peer string, op Op, module, name string, arity int) (index int, allowed bool) {
	for i := range t {
		r := &t[i]
		if r.op&op != 0 && r.module != "" && match(r.peer, peer) && match(r.module, module) && match(r.name, name) &&
			(r.arity == "*" || r.arity == strconv.Itoa(arity)) {
			return i, r.allow
		}
	}
	return -1, true
}

// Process tells whether a peer may reach a process that is known by any of the names, by one of the
// operations, none of which is about functions.
func (t Table) Process(peer string, op Op, names ...string) bool {
	for _, name := range names {
		if _, ok := t.FindProcess(peer, op, name); ok {
			return true
		}
	}
	return false
}

// FindProcess is Process for one name, with the index of the rule that decides; -1: none does.
func (t Table) FindProcess(peer string, op Op, name string) (index int, allowed bool) {
	for i := range t {
		if r := &t[i]; r.op&op != 0 && match(r.peer, peer) && match(r.target, name) {
			return i, r.allow
		}
	}
	return -1, true
}

// match tells whether s is what a pattern describes, in which * stands for any characters, or none.
func match(pattern, s string) bool {
	star, from := -1, 0 // where to go on if what follows the last * does not fit
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
