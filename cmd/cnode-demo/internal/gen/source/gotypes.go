package source

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// A goType is a type of Go, and what goes with it where it is used.
type goType struct {
	text   string
	option string // of the field's tag: atom, charlist
	note   string // the type that Go has no word for
	isKey  bool   // Go compares it, so a map may have it as a key
}

func plain(text string) goType { return goType{text: text, isKey: true} }

// unknown is a type of Go that takes any term.
func unknown(t ei.Term) goType { return goType{text: "ei.Term", note: spell(t)} }

// A scope is where a type stands.
type scope struct {
	module *Module
	vars   map[string]bound // the parameters of the type around it
	name   string           // for a type that has to be declared
	absent ei.Atom          // nil, or undefined
	depth  int
}

type bound struct {
	body ei.Term
	in   scope
}

// typeOf is the Go type of an abstract type.
func (w *writer) typeOf(t ei.Term, in scope) goType {
	w.steps++ // types with parameters may have grown beyond measure
	if in.depth++; in.depth > maxDepth || w.steps > maxSteps || len(w.decls) > maxTypes {
		return unknown(t)
	}
	kind, rest := form(t)
	list := elements(at(rest, 0))
	switch {
	case kind == "ann_type" && len(list) == 2:
		return w.typeOf(list[1], in)
	case kind == "atom":
		if a := at(rest, 0); a == ei.Atom("true") || a == ei.Atom("false") {
			return plain("bool")
		}
		return goType{text: "ei.Atom", note: spell(t), isKey: true}
	case kind == "integer" || kind == "op" || kind == "char":
		return plain("int64")
	case kind == "var":
		name, _ := at(rest, 0).(ei.Atom)
		if b, ok := in.vars[string(name)]; ok {
			b.in.depth = in.depth
			return w.typeOf(b.body, b.in)
		}
	case kind == "user_type":
		name, _ := at(rest, 0).(ei.Atom)
		return w.named(t, in.module, name, elements(at(rest, 1)), in)
	case kind == "remote_type" && len(list) == 3:
		return w.remote(t, list, in)
	case kind == "type":
		name, _ := at(rest, 0).(ei.Atom)
		return w.builtin(t, name, at(rest, 1), in)
	}
	return unknown(t)
}

// named is a type that a module defines. Each is converted once, unless it has parameters.
func (w *writer) named(t ei.Term, m *Module, name ei.Atom, args []ei.Term, in scope) goType {
	d, ok := m.typeNamed(name, len(args))
	if !ok {
		return unknown(t)
	}
	id := string(m.Name) + " " + string(name)
	if done, ok := w.known[id]; ok && len(args) == 0 {
		return done
	}
	of := scope{module: m, vars: map[string]bound{}, name: in.name, absent: in.absent, depth: in.depth}
	for i, arg := range args {
		of.vars[d.params[i]] = bound{arg, in}
	}
	if len(args) == 0 {
		w.known[id] = unknown(t) // while it is looked at: a type within itself
		called := string(m.Name)
		of.name = goName(called[strings.LastIndex(called, ".")+1:]) + goName(string(name))
	}
	typ := w.typeOf(d.body, of)
	if len(args) == 0 {
		w.known[id] = typ
	}
	return typ
}

// module asks for a module, once; nil if there is none.
func (w *writer) module(name ei.Atom) *Module {
	m, ok := w.modules[name]
	if !ok && len(w.modules) < maxTypes {
		var err error
		if m, err = w.look(name); err != nil && !errors.As(err, new(*UnknownModuleError)) {
			w.err = cmp.Or(w.err, err)
		}
		w.modules[name] = m
	}
	return m
}

// ready are the types of other modules that have a Go type.
var ready = map[string]goType{
	"Elixir.String t": plain("string"), "Elixir.Date t": plain("elixir.Date"), "Elixir.Time t": {text: "elixir.Time"},
	"Elixir.NaiveDateTime t": {text: "elixir.NaiveDateTime"}, "Elixir.DateTime t": {text: "elixir.DateTime"},
	"Elixir.Decimal t": {text: "elixir.Decimal"}, "Elixir.Range t": {text: "elixir.Range"}, "Elixir.Exception t": {text: "*elixir.Exception"},
	"elixir charlist": {text: "string", option: "charlist"}, "elixir nonempty_charlist": {text: "string", option: "charlist"},
	"elixir keyword": {text: "elixir.Keyword[ei.Term]"}, "Elixir.Keyword t": {text: "elixir.Keyword[ei.Term]"},
	"Elixir.Macro t": {text: "ei.Term", note: "Macro.t()"}, "unicode unicode_binary": plain("string"),
}

func (w *writer) remote(t ei.Term, list []ei.Term, in scope) goType {
	module, _ := atomOf(list[0])
	name, _ := atomOf(list[1])
	args := elements(list[2])
	id := string(module) + " " + string(name)
	if typ, ok := ready[id]; ok && len(args) == 0 {
		return typ
	}
	if len(args) == 1 && slices.Contains([]string{"Elixir.MapSet t", "elixir keyword", "Elixir.Keyword t", "elixir as_boolean"}, id) {
		inner := w.typeOf(args[0], in)
		switch {
		case name == "as_boolean":
			return inner
		case inner.option == "atom" && !strings.ContainsAny(inner.text, "[]*"):
			inner = goType{text: "ei.Atom", isKey: true} // their elements have no tags
		case inner.option != "":
			return unknown(t)
		}
		if module != "Elixir.MapSet" {
			return goType{text: "elixir.Keyword[" + inner.text + "]", note: inner.note}
		}
		if inner.isKey {
			return goType{text: "elixir.MapSet[" + inner.text + "]", note: inner.note}
		}
		return unknown(t)
	}
	m := w.module(module)
	if m == nil {
		return unknown(t)
	}
	if d, ok := m.typeNamed(name, len(args)); ok {
		fields, _ := mapFields(d.body)
		if of, _ := atomOf(fields["__struct__"].value); of == m.Name && m.Struct != nil {
			return w.structOf(m)
		}
		if d.isOpaque {
			return unknown(t)
		}
	} else if name == "t" && m.Struct != nil {
		return w.structOf(m)
	}
	return w.named(t, m, name, args, in)
}

// builtins are the types of the language without parameters.
var builtins = map[ei.Atom]goType{
	"integer": plain("int64"), "neg_integer": plain("int64"), "non_neg_integer": plain("uint64"), "pos_integer": plain("uint64"),
	"arity": plain("uint64"), "byte": plain("uint64"), "char": plain("int64"), "float": plain("float64"), "boolean": plain("bool"),
	"number": plain("float64"), "atom": plain("ei.Atom"), "module": plain("ei.Atom"), "node": plain("ei.Atom"), "pid": plain("ei.Pid"),
	"port": plain("ei.Port"), "binary": {text: "[]byte"}, "nonempty_binary": {text: "[]byte"},
	"reference": {text: "ei.Ref"}, "string": {text: "string", option: "charlist"}, "nonempty_string": {text: "string", option: "charlist"},
	"iodata": {text: "[]byte", note: "iodata()"}, "term": {text: "ei.Term"}, "any": {text: "ei.Term"},
	"mfa": {text: "ei.Tuple", note: "mfa()"},
}

func (w *writer) builtin(t ei.Term, name ei.Atom, args ei.Term, in scope) goType {
	list := elements(args)
	if typ, ok := builtins[name]; ok && (len(list) == 0 || name == "binary") {
		if bits := elements(args); len(bits) == 2 && !isBytes(bits) {
			return unknown(t)
		}
		return typ
	}
	switch name {
	case "range":
		if kind, _ := form(at(list, 0)); kind == "integer" {
			return plain("uint64")
		}
		return plain("int64")
	case "list", "nonempty_list":
		inner := goType{text: "ei.Term"}
		if len(list) == 1 {
			inner = w.typeOf(list[0], in)
		}
		inner.text, inner.isKey = "[]"+inner.text, false
		return inner
	case "union":
		return w.union(t, list, in)
	case "tuple":
		return w.tuple(t, list, in)
	case "map":
		return w.mapOf(t, args, list, in)
	case "record":
		if record, ok := atomOf(at(list, 0)); ok {
			return w.recordOf(in.module, record)
		}
	}
	return unknown(t)
}

// isBytes tells whether the sizes of a binary are those of whole bytes.
func isBytes(sizes []ei.Term) bool {
	for _, s := range sizes {
		_, rest := form(s)
		if n, ok := at(rest, 0).(ei.Int); !ok || n%8 != 0 {
			return false
		}
	}
	return true
}

// union is a choice: one type that may be absent, one of several atoms, or anything.
func (w *writer) union(t ei.Term, list []ei.Term, in scope) goType {
	var members []ei.Term
	var flatten func(list []ei.Term, depth int)
	flatten = func(list []ei.Term, depth int) {
		for _, t := range list {
			if kind, rest := form(t); kind == "type" && at(rest, 0) == ei.Atom("union") && depth < maxDepth {
				flatten(elements(at(rest, 1)), depth+1)
			} else {
				members = append(members, t)
			}
		}
	}
	flatten(list, in.depth)
	all := len(members)
	members = slices.DeleteFunc(members, func(t ei.Term) bool { a, ok := atomOf(t); return ok && a == in.absent })
	var typ goType
	switch atoms := atomsOf(members); {
	case len(members) == 1:
		typ = w.typeOf(members[0], in)
	case len(members) == 2 && slices.Contains(atoms, "true") && slices.Contains(atoms, "false"):
		typ = plain("bool")
	case atoms != nil:
		typ = w.enum(atoms, in.name)
	default:
		return unknown(t)
	}
	if len(members) < all && typ.text != "ei.Term" && typ.text[0] != '*' {
		typ.text, typ.isKey = "*"+typ.text, false
	}
	return typ
}

// atomsOf are the atoms that all of some types are; nil if they are not all atoms.
func atomsOf(list []ei.Term) (atoms []ei.Atom) {
	for _, t := range list {
		a, ok := atomOf(t)
		if !ok {
			return nil
		}
		atoms = append(atoms, a)
	}
	return atoms
}

// enum declares a string type with a constant for each of some atoms.
func (w *writer) enum(atoms []ei.Atom, name string) goType {
	name = w.claim(cmp.Or(name, "Atom"))
	var b strings.Builder
	fmt.Fprintf(&b, "// %s is one of some atoms.\ntype %[1]s string\n\n// The values of %[1]s.\nconst (\n", name)
	for _, a := range atoms {
		fmt.Fprintf(&b, "%s %s = %q\n", w.claim(name+cmp.Or(goName(string(a)), "Other")), name, string(a))
	}
	w.decls = append(w.decls, b.String()+")\n")
	return goType{text: name, option: "atom", isKey: true}
}

// tuple declares a struct for a tuple.
func (w *writer) tuple(t ei.Term, list []ei.Term, in scope) goType {
	options := "tuple"
	if tag, ok := atomOf(at(list, 0)); ok && keySyntax.MatchString(string(tag)) {
		options, list = "tuple="+string(tag), list[1:]
	}
	if len(list) == 0 || in.name == "" {
		return goType{text: "ei.Tuple", note: spell(t)}
	}
	name, place := w.claim(in.name), w.reserve()
	var fields []field
	for i, e := range list {
		key := "e" + strconv.Itoa(i+1)
		if kind, rest := form(e); kind == "ann_type" {
			_, of := form(at(elements(at(rest, 0)), 0))
			if v, ok := at(of, 0).(ei.Atom); ok && keySyntax.MatchString(string(v)) {
				key = string(v)
			}
		}
		of := in
		of.name = name + goName(key)
		fields = append(fields, field{key: key, typ: w.typeOf(e, of)})
	}
	w.declare(place, name, spell(t), options, fields)
	return goType{text: name}
}

// mapOf is a struct of Elixir, a struct for a map with known keys, or a map.
func (w *writer) mapOf(t, args ei.Term, list []ei.Term, in scope) goType {
	if fields, ok := mapFields(t); ok {
		if of, ok := atomOf(fields["__struct__"].value); ok {
			if m := w.module(of); m != nil && m.Struct != nil {
				return w.structOf(m)
			}
			return unknown(t)
		}
		keys := slices.Sorted(maps.Keys(fields))
		if in.name == "" || slices.ContainsFunc(keys, func(k ei.Atom) bool { return !keySyntax.MatchString(string(k)) }) {
			return goType{text: "ei.Map", note: spell(t)}
		}
		name, place := w.claim(in.name), w.reserve()
		var all []field
		for _, key := range keys {
			f := fields[key]
			of := in
			of.name = name + goName(string(key))
			typ := w.typeOf(f.value, of)
			if f.optional && typ.text != "ei.Term" && typ.text[0] != '*' {
				typ.text = "*" + typ.text
			}
			all = append(all, field{key: string(key), typ: typ, omit: f.optional})
		}
		w.declare(place, name, spell(t), "", all)
		return goType{text: name}
	}
	_, rest := form(at(list, 0))
	pair := elements(at(rest, 1))
	if len(list) != 1 || len(pair) != 2 {
		return goType{text: "ei.Map", note: spell(t)}
	}
	of := in
	of.name += "Key"
	key := w.typeOf(pair[0], of)
	value := w.typeOf(pair[1], in)
	mixed := key.option != value.option // the option would be that of both
	if !key.isKey || key.option == "charlist" || value.option == "charlist" || mixed && strings.ContainsAny(value.text, "[]*") {
		return goType{text: "ei.Map", note: spell(t)}
	}
	typ := goType{note: cmp.Or(key.note, value.note), option: key.option}
	if mixed && key.option == "atom" {
		key.text, typ.option = "ei.Atom", ""
	} else if mixed {
		value.text = "ei.Atom"
	}
	typ.text = "map[" + key.text + "]" + value.text
	return typ
}
