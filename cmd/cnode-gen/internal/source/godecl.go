package source

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// bind is the scope of a definition's body, whose parameters are arguments given in another scope.
func (d definition) bind(m *Module, args []ei.Term, in scope) scope {
	of := scope{module: m, vars: map[string]bound{}, name: in.name, absent: in.absent, depth: in.depth}
	for i, arg := range args {
		of.vars[d.params[i]] = bound{arg, in}
	}
	return of
}

// structIn follows a type of a module to the map that is the module's struct, and to the scope that
// it stands in: t() may be t(term()).
func structIn(t ei.Term, in scope) (fields map[ei.Atom]mapField, of scope, ok bool) {
	for range maxDepth {
		kind, rest := form(t)
		list := elements(at(rest, 0))
		switch {
		case kind == "ann_type" && len(list) == 2:
			t = list[1]
			continue
		case kind == "type":
			fields, _ = mapFields(t)
			name, _ := atomOf(fields["__struct__"].value)
			return fields, in, name == in.module.Name
		}
		var name ei.Atom
		var args []ei.Term
		if kind == "user_type" {
			name, _ = at(rest, 0).(ei.Atom)
			args = elements(at(rest, 1))
		} else if module, _ := atomOf(at(list, 0)); kind == "remote_type" && module == in.module.Name {
			name, _ = atomOf(at(list, 1))
			args = elements(at(list, 2))
		}
		d, ok := in.module.typeNamed(name, len(args))
		if !ok {
			break
		}
		t, in = d.body, d.bind(in.module, args, in)
	}
	return nil, in, false
}

// ownStruct declares the struct of a module as its own types tell it.
func (w *writer) ownStruct(m *Module, depth int) goType {
	in := scope{module: m, absent: "nil", depth: depth}
	for _, d := range m.structTypes() {
		of := in
		of.vars = map[string]bound{}
		if fields, of, ok := structIn(d.body, of); ok {
			return w.structOf(m, fields, of)
		}
	}
	return w.structOf(m, nil, in)
}

// structOf declares the struct of a module with some types of its fields: once, or once for the
// arguments that the type has.
func (w *writer) structOf(m *Module, spec map[ei.Atom]mapField, in scope) goType {
	if !IsAlias(m.Name) {
		return goType{text: "ei.Term", note: "a struct of a module that is no alias: " + printable(m.Name)}
	}
	in.absent = "nil"
	called := strings.TrimPrefix(string(m.Name), "Elixir.")
	name := goName(called[strings.LastIndex(called, ".")+1:])
	id, args := string(m.Name), ""
	for _, v := range slices.Sorted(maps.Keys(in.vars)) {
		of := in.vars[v].in
		of.name = name + goName(v)
		of.depth = in.depth
		arg := w.typeOf(in.vars[v].body, of).text
		id, args = id+" "+arg, args+goName(strings.ReplaceAll(arg, "ei.", ""))
	}
	if t, ok := w.again(id); ok {
		return t
	}
	if there := w.there[m.Name]; there != "" && args == "" {
		return goType{text: there, kind: kindThere}
	}
	if w.taken[name] && w.modules[m.Name] != nil && w.isDeclared(m.Name, name) {
		name += args
	}
	d := w.reserve(decl{home: m.Name, name: w.claim(name), doc: "%" + called + "{}", form: "struct", tag: m.Name, make: true})
	w.known[id], w.open[id] = goType{text: d.name, kind: kindStruct, decl: d}, true
	defer delete(w.open, id)
	var fields []field
	for _, p := range slices.SortedFunc(slices.Values(m.Struct), func(a, b ei.Pair) int { return ei.Compare(a.Key, b.Key) }) {
		key, ok := p.Key.(ei.Atom)
		switch {
		case key == "__struct__":
			continue
		case !ok || !keySyntax.MatchString(string(key)):
			w.warn("%s: the key %s cannot be that of a Go field: it is left out", called, brief(p.Key))
			d.partial = true
			continue
		}
		of := in
		of.name = d.name + goName(string(key))
		fields = append(fields, w.fieldOf(called, key, p.Value, spec, of))
	}
	return d.complete(fields)
}

// isDeclared tells whether a struct of a module has the name.
func (w *writer) isDeclared(module ei.Atom, name string) bool {
	return slices.ContainsFunc(w.decls, func(d *decl) bool { return d.home == module && d.form == "struct" && d.name == name })
}

// again is the type of a struct that is there, a pointer while it is not finished: it cannot
// contain itself.
func (w *writer) again(id string) (goType, bool) {
	t, ok := w.known[id]
	if ok && w.open[id] {
		t = pointerTo(t)
		t.loops = true
	}
	return t, ok
}

// fieldOf is a field of a struct: of the type that the spec says, or else of that of its default.
func (w *writer) fieldOf(called string, key ei.Atom, initial ei.Term, spec map[ei.Atom]mapField, in scope) field {
	f := field{key: string(key), initial: initial}
	t, isSpecified := spec[key]
	switch {
	case key == "__exception__":
		f.typ = plain("bool")
	case isSpecified:
		f.typ = w.typeOf(t.value, in)
		if initial == ei.Atom("nil") && !f.typ.canBeAbsent() {
			if f.typ.text != "ei.Atom" {
				w.warn("%s: %s: its default is nil, which its type, %s, is not: the field may be absent", called, key, spell(t.value))
			}
			f.typ = optional(f.typ)
		}
	default:
		f.typ = w.ofDefault(initial, in)
	}
	return f
}

// ofDefault is the type of a value that stands for what nobody has written a type for.
func (w *writer) ofDefault(v ei.Term, in scope) goType {
	if in.depth++; in.depth > maxDepth {
		return goType{text: "ei.Term", note: "of no known type"}
	}
	switch v := v.(type) {
	case ei.Int:
		return plain("int64")
	case ei.Float:
		return plain("float64")
	case ei.Binary:
		return plain("string")
	case ei.Atom:
		if v == "true" || v == "false" {
			return plain("bool")
		} else if v != in.absent {
			return plain("ei.Atom")
		}
	case ei.Map:
		return w.ofMap(v, in)
	case ei.Tuple:
		return w.ofTuple(v, in)
	}
	list, isList := ei.Elements(v)
	if !isList {
		return goType{text: "ei.Term", note: "of no known type"}
	}
	var values []ei.Term
	for _, e := range list {
		pair, _ := e.(ei.Tuple)
		if _, ok := at(pair, 0).(ei.Atom); ok && len(pair) == 2 {
			values = append(values, pair[1])
		}
	}
	if len(values) == len(list) && len(list) > 0 {
		return keywordOf(w.common(values, in))
	}
	return sliceOf(w.common(list, in))
}

// common is the type that some values have in common.
func (w *writer) common(values []ei.Term, in scope) (t goType) {
	for i, v := range values {
		switch v.(type) {
		case ei.Tuple:
			return goType{text: "ei.Term"} // each would be a type of its own
		}
		if of := w.ofDefault(v, in); i > 0 && of.text != t.text || of.option != "" {
			return goType{text: "ei.Term"}
		} else if t = of; t.isTerm() {
			t.note = ""
		}
	}
	if t.text == "" {
		return goType{text: "ei.Term"}
	}
	return t
}

// ofTuple declares a struct for a default that is a tuple.
func (w *writer) ofTuple(v ei.Tuple, in scope) goType {
	if len(v) == 0 || in.name == "" {
		return goType{text: "ei.Tuple"}
	}
	d := w.reserve(decl{home: in.module.Name, name: w.claim(in.name), form: "tuple", absent: in.nils(), doc: "a tuple such as " + brief(v)})
	var fields []field
	for i, e := range v {
		of := in
		of.name = d.name + "E" + strconv.Itoa(i+1)
		fields = append(fields, field{key: "e" + strconv.Itoa(i+1), typ: w.ofDefault(e, of)})
	}
	return d.complete(fields)
}

// ofMap is the type of a default that is a map, or a struct.
func (w *writer) ofMap(v ei.Map, in scope) goType {
	var keys, values []ei.Term
	for _, p := range v {
		if p.Key == ei.Atom("__struct__") {
			return w.ofStruct(p.Value, v, in)
		}
		keys, values = append(keys, p.Key), append(values, p.Value)
	}
	key, value := w.common(keys, in), w.common(values, in)
	if !key.isKey {
		return goType{text: "ei.Map"}
	}
	return goType{text: "map[" + key.text + "]" + value.text, kind: kindMap, key: &key, elem: &value}
}

func (w *writer) ofStruct(name ei.Term, v ei.Map, in scope) goType {
	module, _ := name.(ei.Atom)
	if module == "Elixir.MapSet" {
		members, _ := get(v, "map").(ei.Map)
		var keys []ei.Term
		for _, p := range members {
			keys = append(keys, p.Key)
		}
		if elem := w.common(keys, in); elem.isKey {
			return setOf(elem)
		}
		return setOf(plain("any"))
	}
	if t, ok := ready[string(module)+" t"]; ok {
		return t
	}
	if m := w.module(module); m != nil && m.Struct != nil {
		return w.ownStruct(m, in.depth)
	}
	return goType{text: "ei.Term", note: "of no known type"}
}

// get is the value of a key that is an atom; nil if there is none.
func get(m ei.Map, key ei.Atom) ei.Term {
	for _, p := range m {
		if p.Key == key {
			return p.Value
		}
	}
	return nil
}

// recordOf declares a record of a module, once.
func (w *writer) recordOf(m *Module, record ei.Atom) goType {
	id := "record " + string(m.Name) + " " + string(record)
	if t, ok := w.again(id); ok {
		return t
	}
	for _, a := range m.attributes("record") {
		of, _ := a.(ei.Tuple)
		if len(of) != 2 || of[0] != record || !tagSyntax.MatchString(string(record)) {
			continue
		}
		d := w.reserve(decl{home: m.Name, name: w.claim(cmp.Or(goName(string(record)), "Record")), form: "tuple", tag: record,
			doc: "#" + printed(record.String()) + "{} of " + printable(m.Name)})
		w.known[id], w.open[id] = goType{text: d.name, kind: kindStruct, decl: d}, true
		defer delete(w.open, id)
		var fields []field
		for _, f := range elements(of[1]) {
			fields = append(fields, w.recordField(f, scope{module: m, name: d.name, absent: "undefined"}))
		}
		return d.complete(fields)
	}
	return goType{text: "ei.Term", note: "a record that is not known"}
}

func (w *writer) recordField(f ei.Term, in scope) field {
	typ, isTyped := f.(ei.Tuple)
	if isTyped = isTyped && len(typ) == 3 && typ[0] == ei.Atom("typed_record_field"); isTyped {
		f = typ[1]
	}
	_, rest := form(f)
	key, _ := atomOf(at(rest, 0))
	if !isTyped {
		return field{key: string(key), typ: goType{text: "ei.Term", note: "of no known type"}}
	}
	in.name += goName(string(key))
	return field{key: string(key), typ: w.typeOf(typ[2], in)}
}

// enum declares a string type with a constant for each of some atoms.
func (w *writer) enum(atoms []ei.Atom, in scope) goType {
	name := w.claim(cmp.Or(in.name, "Atom"))
	d := w.reserve(decl{home: in.module.Name, name: name, atoms: atoms})
	for _, a := range atoms {
		d.consts = append(d.consts, w.claim(name+cmp.Or(goName(string(a)), "Other")))
	}
	return goType{text: name, kind: kindAtoms, option: "atom", isKey: true, decl: d}
}

// optionsName is how a type, or a field, is called whose keyword list is of options: each once, in
// any order. Other lists of pairs keep the order, and equal keys.
var optionsName = regexp.MustCompile(`(Opt|Opts|Option|Options)$`)

// pairs is the type of a list of pairs with given keys, such as [timeout: timeout(), name: atom()];
// false of another list.
func (w *writer) pairs(t ei.Term, in scope) (goType, bool) {
	var keys []string
	var values []bound
	for _, m := range in.members(t, 0) {
		kind, rest := form(m.body)
		pair := elements(at(rest, 1))
		key, ok := atomOf(at(pair, 0))
		if kind != "type" || at(rest, 0) != ei.Atom("tuple") || len(pair) != 2 || !ok || !keySyntax.MatchString(string(key)) {
			return goType{}, false
		}
		keys, values = append(keys, string(key)), append(values, bound{pair[1], m.in})
	}
	isResult := len(keys) == 2 && slices.Contains(keys, "ok") && slices.Contains(keys, "error")
	if len(keys) == 0 || isResult {
		return goType{}, false
	}
	typed := func(i int, name string) goType {
		of := values[i].in
		of.name, of.depth, of.absent = name, in.depth, in.absent
		return w.typeOf(values[i].body, of)
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(keys))); optionsName.MatchString(in.name) && len(unique) == len(keys) {
		d := w.reserve(decl{home: in.module.Name, name: w.claim(in.name), doc: "[" + spell(t) + "]", form: "proplist", absent: in.nils()})
		var fields []field
		for i, key := range keys {
			fields = append(fields, field{key: key, typ: optional(typed(i, d.name+goName(key))), omit: true})
		}
		return d.complete(fields), true
	}
	elem := typed(0, in.name)
	for i := range keys[1:] {
		if typed(i+1, in.name).text != elem.text {
			elem = goType{text: "ei.Term"}
		}
	}
	return keywordOf(elem), true
}
