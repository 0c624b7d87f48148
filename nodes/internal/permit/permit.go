// Package permit decides by rules what a peer may ask of a node. Names in, a decision out.
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
	Call Op = 1 << iota
	Spawn
	Send
	Link
	Exit

	functions = Call | Spawn // those whose targets are functions
	all       = functions | Send | Link | Exit
)

// A Rule is about what peers of some names ask for some operations on some targets. Peer and Target
// are patterns, of which "" matches everything; no Op is all.
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

// Compile checks rules, and makes a table of them; nil of none.
func Compile(rules []Rule) (t Table, err error) {
	for i, r := range rules {
		c := rule{peer: orAny(r.Peer), op: r.Op, target: orAny(r.Target), allow: r.Allow}
		if r.Op == 0 {
			c.op = all
		}
		if r.Op&^all != 0 {
			return nil, fmt.Errorf("rule %d: there is no such operation: %#x", i, uint8(r.Op))
		}
		if c.op&functions != 0 && !c.readFunction() && c.op&^functions == 0 {
			return nil, fmt.Errorf("rule %d: target %q: want Module:Function or Module:Function/Arity", i, r.Target)
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
	for i := range t {
		r := &t[i]
		if r.op&op != 0 && r.module != "" && match(r.peer, peer) && match(r.module, module) && match(r.name, name) &&
			(r.arity == "*" || r.arity == strconv.Itoa(arity)) {
			return r.allow
		}
	}
	return true
}

// Process tells whether a peer may reach a process that is known by any of the names: Send, Link or
// Exit.
func (t Table) Process(peer string, op Op, names ...string) bool {
	for _, name := range names {
		if t.process(peer, op, name) {
			return true
		}
	}
	return false
}

func (t Table) process(peer string, op Op, name string) bool {
	for i := range t {
		if r := &t[i]; r.op&op != 0 && match(r.peer, peer) && match(r.target, name) {
			return r.allow
		}
	}
	return true
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
