package source

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// A goType is a type of Go, and what goes with it where it is used.
type goType struct {
	text   string
	kind   goKind
	key    *goType // of a map
	elem   *goType // of what is made of another type
	decl   *decl   // of what is declared
	option string  // of the field's tag: atom, charlist, ms
	note   string  // the type that Go has no word for
	isKey  bool    // Go compares it, so a map may have it as a key
	loops  bool    // a pointer to a struct for no other reason than that this stands in it
}

type goKind int8

// How a type is made of another one.
const (
	kindOther goKind = iota // it is not, its text says all
	kindPointer
	kindOptional
	kindSlice
	kindMap
	kindKeyword
	kindSet
	kindResult
	kindStruct // declared
	kindThere  // declared in another file
	kindAtoms  // declared
)

func plain(text string) goType { return goType{text: text, isKey: true} }

func (t goType) isTerm() bool { return t.text == "ei.Term" }

// canBeAbsent tells whether a value may be nil, or undefined.
func (t goType) canBeAbsent() bool {
	return t.isTerm() || t.kind == kindOptional || strings.HasPrefix(t.text, "*")
}

// of is a type made of this one, which its options and notes are about, too.
func (t goType) of(kind goKind, before, after string) goType {
	return goType{text: before + t.text + after, kind: kind, elem: &t, option: t.option, note: t.note}
}

func pointerTo(t goType) goType { return t.of(kindPointer, "*", "") }
func sliceOf(t goType) goType   { return t.apart().of(kindSlice, "[]", "") }

// apart is a type as the element of a slice or a map, which do not contain their elements.
func (t goType) apart() goType {
	if t.loops {
		return *t.elem
	}
	return t
}

// optional is a type whose values may be absent.
func optional(t goType) goType {
	if t.canBeAbsent() {
		t.loops = false
		return t
	}
	switch t.kind {
	case kindSlice, kindMap, kindKeyword: // there is no literal of a pointer to one
		return t.of(kindOptional, "ei.Optional[", "]")
	case kindOther:
		if slices.Contains([]string{"[]byte", "ei.Map", "ei.Tuple"}, t.text) {
			return t.of(kindOptional, "ei.Optional[", "]")
		}
	}
	return pointerTo(t)
}

// untagged is a type as the element of another one, which has no tag to say more; false if that
// would be too little.
func (t goType) untagged() (goType, bool) {
	if t.kind == kindAtoms {
		return plain("ei.Atom"), true
	}
	return t, t.option == ""
}

func keywordOf(t goType) goType {
	if t, ok := t.apart().untagged(); ok {
		return t.of(kindKeyword, "elixir.Keyword[", "]")
	}
	return goType{text: "ei.Term", note: t.note}.of(kindKeyword, "elixir.Keyword[", "]")
}

func setOf(t goType) goType { return t.of(kindSet, "elixir.MapSet[", "]") }

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
		if a := at(rest, 0); a == in.absent {
			return goType{text: "ei.Term", note: spell(t)}
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

// members are the types that a type is a choice of, through the types that the module defines.
func (in scope) members(t ei.Term, depth int) (all []bound) {
	kind, rest := form(t)
	name, _ := at(rest, 0).(ei.Atom)
	list := elements(at(rest, 1))
	switch {
	case depth > maxDepth:
	case kind == "ann_type" && len(elements(at(rest, 0))) == 2:
		return in.members(elements(at(rest, 0))[1], depth+1)
	case kind == "type" && name == "union":
		for _, t := range list {
			if all = append(all, in.members(t, depth+1)...); len(all) > maxTypes {
				return nil
			}
		}
		return all
	case kind == "user_type":
		if d, ok := in.module.typeNamed(name, len(list)); ok {
			return d.bind(in.module, list, in).members(d.body, depth+1)
		}
	case kind == "var":
		if b, ok := in.vars[string(name)]; ok {
			return b.in.members(b.body, depth+1)
		}
	}
	return []bound{{t, in}}
}

// named is a type that a module defines. Each is converted once, unless it has parameters.
func (w *writer) named(t ei.Term, m *Module, name ei.Atom, args []ei.Term, in scope) goType {
	d, ok := m.typeNamed(name, len(args))
	if !ok {
		return unknown(t)
	}
	of := d.bind(m, args, in)
	if fields, of, ok := structIn(d.body, of); ok && m.Struct != nil {
		return w.structOf(m, fields, of)
	}
	id := string(m.Name) + " " + string(name)
	if done, ok := w.known[id]; ok && len(args) == 0 {
		return done
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
	"elixir keyword": keywordOf(goType{text: "ei.Term"}), "Elixir.Keyword t": keywordOf(goType{text: "ei.Term"}),
	"Elixir.MapSet t": setOf(plain("any")),
	"Elixir.Macro t":  {text: "ei.Term", note: "Macro.t()"}, "unicode unicode_binary": plain("string"),
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
		case module != "Elixir.MapSet":
			return keywordOf(inner)
		case inner.isTerm():
			return setOf(plain("any"))
		}
		if elem, ok := inner.untagged(); ok && elem.isKey {
			return setOf(elem)
		}
		return unknown(t)
	}
	m := w.module(module)
	if m == nil {
		return unknown(t)
	}
	d, ok := m.typeNamed(name, len(args))
	if !ok && name == "t" && m.Struct != nil {
		return w.ownStruct(m, in.depth)
	}
	if !ok {
		return unknown(t)
	}
	if _, _, isStruct := structIn(d.body, d.bind(m, args, in)); d.isOpaque && !isStruct {
		return unknown(t)
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
	"mfa": {text: "ei.Tuple", note: "mfa()"}, "timeout": {text: "time.Duration", option: "ms"},
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
		if len(list) != 1 {
			return sliceOf(goType{text: "ei.Term"})
		}
		if typ, ok := w.pairs(list[0], in); ok {
			return typ
		}
		return sliceOf(w.typeOf(list[0], in))
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

// union is a choice: one type that may be absent, one of several atoms, {:ok, T} or {:error, R}, or
// anything.
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
	typ := unknown(t)
	atoms := atomsOf(members)
	if result, ok := w.result(members, in); ok {
		typ = result
	} else if len(members) == 1 {
		typ = w.typeOf(members[0], in)
	} else if len(members) == 2 && slices.Contains(atoms, "true") && slices.Contains(atoms, "false") {
		typ = plain("bool")
	} else if atoms != nil {
		typ = w.enum(atoms, in)
	} else if len(members) > 0 && !slices.ContainsFunc(members, func(t ei.Term) bool { return !isIntegerLiteral(t) }) {
		typ = plain("int64")
	}
	if len(members) < all {
		return optional(typ)
	}
	return typ
}

// result is the type of {:ok, T} | {:error, R}, and of :ok | {:error, R}; false of another choice.
func (w *writer) result(members []ei.Term, in scope) (goType, bool) {
	var value goType
	found := map[ei.Atom]bool{}
	for _, t := range members {
		kind, rest := form(t)
		pair := elements(at(rest, 1))
		tag, isTagged := atomOf(at(pair, 0))
		switch a, _ := atomOf(t); {
		case a == "ok":
			tag, value = "ok", goType{text: "struct{}"}
		case kind != "type" || at(rest, 0) != ei.Atom("tuple") || len(pair) != 2 || !isTagged:
			return goType{}, false
		case tag == "ok":
			value = w.typeOf(pair[1], in)
		}
		found[tag] = true
	}
	if len(members) != 2 || !found["ok"] || !found["error"] {
		return goType{}, false
	}
	return value.of(kindResult, "ei.Result[", "]"), true
}

// isIntegerLiteral tells whether a type is one integer, or a range of them.
func isIntegerLiteral(t ei.Term) bool {
	kind, rest := form(t)
	return kind == "integer" || kind == "op" || kind == "char" || kind == "type" && at(rest, 0) == ei.Atom("range")
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

// tuple declares a struct for a tuple.
func (w *writer) tuple(t ei.Term, list []ei.Term, in scope) goType {
	tag, ok := atomOf(at(list, 0))
	if ok = ok && tagSyntax.MatchString(string(tag)); ok {
		list = list[1:]
	} else {
		tag = ""
	}
	if len(list) == 0 || in.name == "" {
		return goType{text: "ei.Tuple", note: spell(t)}
	}
	d := w.reserve(decl{home: in.module.Name, name: w.claim(in.name), doc: spell(t), form: "tuple", tag: tag, absent: in.nils()})
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
		of.name = d.name + goName(key)
		fields = append(fields, field{key: key, typ: w.typeOf(e, of)})
	}
	return d.complete(fields)
}

// nils is what a struct has to be told to send for nothing.
func (in scope) nils() ei.Atom {
	if in.absent == "undefined" {
		return "" // as it does
	}
	return in.absent
}

// mapOf is a struct of Elixir, a struct for a map with known keys, or a map.
func (w *writer) mapOf(t, args ei.Term, list []ei.Term, in scope) goType {
	if fields, ok := mapFields(t); ok {
		if of, ok := atomOf(fields["__struct__"].value); ok {
			if m := w.module(of); m != nil && m.Struct != nil {
				return w.ownStruct(m, in.depth)
			}
			return unknown(t)
		}
		keys := slices.Sorted(maps.Keys(fields))
		if in.name == "" || slices.ContainsFunc(keys, func(k ei.Atom) bool { return !keySyntax.MatchString(string(k)) }) {
			return goType{text: "ei.Map", note: spell(t)}
		}
		d := w.reserve(decl{home: in.module.Name, name: w.claim(in.name), doc: spell(t), absent: in.nils()})
		var all []field
		for _, key := range keys {
			f := fields[key]
			of := in
			of.name = d.name + goName(string(key))
			typ := w.typeOf(f.value, of)
			if f.optional {
				typ = optional(typ)
			}
			all = append(all, field{key: string(key), typ: typ, omit: f.optional})
		}
		return d.complete(all)
	}
	_, rest := form(at(list, 0))
	pair := elements(at(rest, 1))
	if len(list) != 1 || len(pair) != 2 {
		return goType{text: "ei.Map", note: spell(t)}
	}
	of := in
	of.name += "Key"
	key, ok := w.typeOf(pair[0], of).untagged() // the tag of a map is about its values
	value := w.typeOf(pair[1], in).apart()
	if !ok || !key.isKey {
		return goType{text: "ei.Map", note: spell(t)}
	}
	typ := value.of(kindMap, "map["+key.text+"]", "")
	typ.key, typ.note = &key, cmp.Or(key.note, value.note)
	return typ
}
