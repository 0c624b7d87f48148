// Package source writes the types of one language as the source of the other: Go types of what the
// typespecs of Elixir and Erlang say, and Elixir modules of Go types. It asks nobody, and opens
// nothing. What comes from a peer is checked before it becomes a part of source.
package source

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// A Module is what a node has told of a module of its own.
type Module struct {
	Name   ei.Atom
	Struct ei.Map  // what __struct__/0 has given; nil: the module has none
	Forms  ei.List // abstract code, of which the attributes count; nil: the node has none
}

// A Lookup asks a node for a module. The error of one that does not exist is, or wraps, an
// *UnknownModuleError.
type Lookup func(module ei.Atom) (*Module, error)

// An UnknownModuleError says that a node has no such module.
type UnknownModuleError struct {
	Module ei.Atom
	Node   string
}

// Error names both.
func (e *UnknownModuleError) Error() string {
	return fmt.Sprintf("%s has no module %s", e.Node, elixir.AppendText(nil, e.Module))
}

var (
	aliasSyntax = regexp.MustCompile(`^Elixir(\.[A-Z][A-Za-z0-9_]*)+$`)
	keySyntax   = regexp.MustCompile(`^[\pL_][\pL\pN_]*[?!]?$`)
	tagSyntax   = regexp.MustCompile(`^[\pL\pN_][\pL\pN_ .@?!-]*$`) // of a name that the tag of a Go field can have
)

// IsAlias tells whether an atom is the name of a module as Elixir writes it, such as Shop.Order.
func IsAlias(a ei.Atom) bool { return aliasSyntax.MatchString(string(a)) }

// form takes an abstract form apart: {Kind, Line, …}.
func form(t ei.Term) (kind ei.Atom, rest []ei.Term) {
	tuple, ok := t.(ei.Tuple)
	if !ok || len(tuple) < 2 {
		return "", nil
	}
	kind, _ = tuple[0].(ei.Atom)
	return kind, tuple[2:]
}

// at is the i-th of some terms, nil if there are not so many.
func at(list []ei.Term, i int) ei.Term {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// elements is the list that a term is; nil of another term.
func elements(t ei.Term) []ei.Term {
	list, _ := ei.Elements(t)
	return list
}

// atomOf is the atom of {atom, Line, Atom}.
func atomOf(t ei.Term) (a ei.Atom, ok bool) {
	kind, rest := form(t)
	if kind != "atom" {
		return "", false
	}
	a, ok = at(rest, 0).(ei.Atom)
	return a, ok
}

// A definition is a type that a module defines: {Name, Type, Parameters}.
type definition struct {
	name     ei.Atom
	body     ei.Term
	params   []string
	isOpaque bool // what it is made of is the module's own affair
}

// attributes gives what attributes of a kind hold.
func (m *Module) attributes(kinds ...ei.Atom) (all []ei.Term) {
	for _, f := range m.Forms {
		kind, rest := form(f)
		for _, k := range kinds {
			if kind == "attribute" && at(rest, 0) == k {
				all = append(all, at(rest, 1))
			}
		}
	}
	return all
}

// typeNamed finds a type with so many parameters.
func (m *Module) typeNamed(name ei.Atom, arity int) (d definition, ok bool) {
	opaque := m.attributes("opaque")
	for i, t := range append(opaque, m.attributes("type", "typep", "nominal")...) {
		of, _ := t.(ei.Tuple)
		if len(of) != 3 || of[0] != name || len(elements(of[2])) != arity {
			continue
		}
		d.isOpaque = i < len(opaque)
		for _, v := range elements(of[2]) {
			_, rest := form(v)
			p, _ := at(rest, 0).(ei.Atom)
			d.params = append(d.params, string(p))
		}
		d.name, d.body = name, of[1]
		return d, true
	}
	return d, false
}

// structTypes are the types of a module that may be that of its struct, the likeliest first: t
// without parameters, t with some, any other.
func (m *Module) structTypes() (all []definition) {
	var other []definition
	for _, t := range m.attributes("type", "typep", "opaque", "nominal") {
		of, _ := t.(ei.Tuple)
		if len(of) != 3 {
			continue
		}
		name, _ := of[0].(ei.Atom)
		d, _ := m.typeNamed(name, len(elements(of[2])))
		switch {
		case name == "t" && len(d.params) == 0:
			all = append([]definition{d}, all...)
		case name == "t":
			all = append(all, d)
		default:
			other = append(other, d)
		}
	}
	return append(all, other...)
}

type mapField struct {
	value    ei.Term
	optional bool
}

// mapFields reads the type of a map whose keys are atoms; false of another.
func mapFields(t ei.Term) (map[ei.Atom]mapField, bool) {
	kind, rest := form(t)
	pairs, ok := ei.Elements(at(rest, 1))
	if kind != "type" || at(rest, 0) != ei.Atom("map") || !ok || len(pairs) == 0 {
		return nil, false
	}
	fields := map[ei.Atom]mapField{}
	for _, p := range pairs {
		_, rest := form(p)
		pair := elements(at(rest, 1))
		key, ok := atomOf(at(pair, 0))
		if !ok || len(pair) != 2 {
			return nil, false
		}
		fields[key] = mapField{pair[1], at(rest, 0) == ei.Atom("map_field_assoc")}
	}
	return fields, true
}

// maxSpelled is the longest text of a type in a comment.
const maxSpelled = 120

// spell is a type as Elixir writes it, on one line, for a comment.
func spell(t ei.Term) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, spelled(t, 0))
	if runes := []rune(text); len(runes) > maxSpelled {
		text = string(runes[:maxSpelled]) + "…"
	}
	return text
}

func spelled(t ei.Term, depth int) string {
	kind, rest := form(t)
	each := func(list ei.Term, between string) string {
		var texts []string
		for _, e := range elements(list) {
			texts = append(texts, spelled(e, depth+1))
		}
		return strings.Join(texts, between)
	}
	name := func(t ei.Term) string {
		a, _ := t.(ei.Atom)
		return string(a)
	}
	switch {
	case depth > 20:
		return "…"
	case kind == "atom" || kind == "integer":
		return string(elixir.AppendText(nil, at(rest, 0)))
	case kind == "var":
		return name(at(rest, 0))
	case kind == "ann_type" && len(elements(at(rest, 0))) == 2:
		return spelled(elements(at(rest, 0))[1], depth+1)
	case kind == "remote_type" && len(elements(at(rest, 0))) == 3:
		of := elements(at(rest, 0))
		module, called := spelled(of[0], depth+1)+".", spelled(of[1], depth+1)
		return strings.TrimPrefix(module, ":elixir.") + strings.TrimPrefix(called, ":") + "(" + each(of[2], ", ") + ")"
	case kind == "type" && at(rest, 0) == ei.Atom("union"):
		return each(at(rest, 1), " | ")
	case kind == "type" && at(rest, 0) == ei.Atom("tuple") && at(rest, 1) != ei.Atom("any"):
		return "{" + each(at(rest, 1), ", ") + "}"
	case kind == "type" && at(rest, 0) == ei.Atom("list"):
		return "[" + each(at(rest, 1), ", ") + "]"
	case kind == "type" && at(rest, 0) == ei.Atom("map") && at(rest, 1) != ei.Atom("any"):
		return "%{" + each(at(rest, 1), ", ") + "}"
	case kind == "type" && (at(rest, 0) == ei.Atom("map_field_exact") || at(rest, 0) == ei.Atom("map_field_assoc")):
		return each(at(rest, 1), " => ")
	case kind == "type" || kind == "user_type":
		return name(at(rest, 0)) + "(" + each(at(rest, 1), ", ") + ")"
	}
	return "term()"
}
