package source

import (
	"cmp"
	"fmt"
	"go/constant"
	"go/types"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

var variableSyntax = regexp.MustCompile(`^[a-z_][A-Za-z0-9_]*[?!]?$`)

// reserved are words that Elixir keeps for itself, as variables or as functions.
var reserved = strings.Fields("do end fn and or not in when true false nil after else rescue catch case cond for quote unquote " +
	"unquote_splicing alias require import receive super try with node timeout def defmodule")

// builtinTypes are names of types that no module defines anew.
var builtinTypes = strings.Fields("t any arity as_boolean atom binary bitstring bool boolean byte char charlist dynamic float fun " +
	"function identifier integer iodata iolist keyword list map maybe_improper_list mfa module neg_integer no_return node " +
	"non_neg_integer none nonempty_binary nonempty_bitstring nonempty_charlist nonempty_improper_list nonempty_list " +
	"nonempty_maybe_improper_list nonempty_string number pid port pos_integer record reference string struct term timeout tuple var")

// An exType is a type of Elixir.
type exType struct {
	spec string
	zero string // what Go's zero is; "": a struct needs a value for it
	nils string // a function that gives nil for what Go sends for nothing, wherever the spec says nil; "": Go sends nil, or the value
}

type exWriter struct {
	isClient  bool              // the only module is that of a client
	link      bool              // it calls by the package cnode
	modules   map[string]string // the names of modules, and of what is local to one, by types of Go
	local     map[string]string
	nils      map[string]string // functions for what is local
	taken     map[string]bool   // the names of types of the module that is being written
	defined   map[string]bool   // and those of functions
	types     []string
	functions []helper
	made      map[string]string // functions, by what they do
	project   Project
	missing   []string              // what is to be written, too
	under     map[*types.Named]bool // that have no name there, and whose parts are being written
	err       error
}

// A helper is a private function.
type helper struct{ name, text string }

// helpers are the functions that a module calls, or that these do.
func (w *exWriter) helpers(module string) string {
	called := map[string]bool{}
	var mark func(text string)
	mark = func(text string) {
		for _, f := range w.functions {
			if !called[f.name] && regexp.MustCompile(`(^|[^.\w])`+f.name+`(\(|/1)`).MatchString(text) {
				called[f.name] = true
				mark(f.text)
			}
		}
	}
	mark(module)
	var b strings.Builder
	for _, f := range w.functions {
		if called[f.name] {
			b.WriteString("\n" + f.text)
		}
	}
	return b.String()
}

// A Project says where the Elixir project that a module is for defines modules, by name; nil: there
// is no project.
type Project map[string]Place

// A Place is where a module is defined.
type Place struct {
	At    string // FILE:LINE
	ByGen bool   // what is written here
}

// DefinedError: the project defines the module already.
type DefinedError struct{ Module, At string }

func (e *DefinedError) Error() string { return e.Module + " is defined at " + e.At + " already" }

// check refuses to write a module that the project defines.
func (p Project) check(module string) error {
	if at, ok := p[module]; ok {
		return &DefinedError{module, at.At}
	}
	return nil
}

// ElixirOfType writes the module of an Elixir struct for a Go type. It refers to the modules of the
// structs in it that have one, and returns which of these the project lacks.
func ElixirOfType(p *Package, name, module string, in Project) (text []byte, missing []string, err error) {
	obj, ok := p.Types.Scope().Lookup(name).(*types.TypeName)
	if !ok {
		return nil, nil, fmt.Errorf("package %s has no type %s", p.Types.Path(), name)
	}
	s, ok := obj.Type().Underlying().(*types.Struct)
	if !ok {
		return nil, nil, fmt.Errorf("%s.%s is no struct", p.Types.Name(), name)
	}
	if encodesItself(obj.Type()) {
		return nil, nil, fmt.Errorf("%s.%s encodes itself: its methods say how, and its fields do not", p.Types.Name(), name)
	}
	of := p.Types.Name() + "." + name
	l, err := layoutOf(s, of)
	if err != nil {
		return nil, nil, err
	}
	if l.kind == "atom" || l.kind == "keys=string" {
		return nil, nil, fmt.Errorf("%s: no module can be made of a struct with %s", of, l.kind)
	}
	if l.kind != "struct" {
		module = cmp.Or(module, goName(path.Base(p.Types.Path()))+"."+name)
	}
	module = cmp.Or(module, strings.TrimPrefix(l.name, "Elixir."))
	if !IsAlias(ei.Atom("Elixir." + module)) {
		return nil, nil, fmt.Errorf("%q is no name of an Elixir module", module)
	}
	if err := in.check(module); err != nil {
		return nil, nil, err
	}
	w := &exWriter{under: map[*types.Named]bool{}, modules: map[string]string{}, project: in}
	if l.kind == "struct" && l.name == "Elixir."+module { // else Go sends, and takes, something else for one within it
		w.modules[types.TypeString(obj.Type(), nil)] = module
	}
	var b strings.Builder
	b.WriteString("# " + Written + "\n")
	w.module(&b, structModule{of, l, module})
	return []byte(b.String()), w.missing, w.err
}

// begin begins a module with some functions.
func (w *exWriter) begin(functions ...string) {
	w.local, w.nils, w.made, w.types, w.functions = map[string]string{}, map[string]string{}, map[string]string{}, nil, nil
	w.taken, w.defined = map[string]bool{}, map[string]bool{}
	for _, name := range slices.Concat(reserved, builtinTypes) {
		w.taken[name] = true
	}
	for _, name := range slices.Concat(reserved, functions) {
		w.defined[name] = true
	}
}

var nameable = strings.NewReplacer("?", "", "!", "")

// claim gives a name that nothing else has. It may be made of a key, which may have signs, and
// capitals, that a type's name has not.
func claim(taken map[string]bool, name string) string {
	name = nameable.Replace(strings.ToLower(name))
	for taken[name] {
		name += "_"
	}
	taken[name] = true
	return name
}

func (w *exWriter) fail(err error) { w.err = cmp.Or(w.err, err) }

// libraryTypes are the types of packages that have a type of Elixir.
var libraryTypes = map[string]string{
	"ei.Atom": "atom()", "ei.Pid": "pid()", "ei.Ref": "reference()", "ei.Port": "port()", "ei.Term": "term()", "ei.Raw": "term()",
	"ei.Map": "map()", "ei.List": "list()", "ei.Tuple": "tuple()", "ei.Binary": "binary()", "ei.Bitstring": "bitstring()",
	"ei.Int": "integer()", "ei.Float": "float()", "ei.String": "charlist()", "ei.Fun": "fun()", "ei.Export": "fun()",
	"ei.BigInt": "integer()", "ei.ImproperList": "maybe_improper_list()", "ei.Record": "term()", "ei.Local": "term()",
	"ei.BinaryKey": "binary()",
	"big.Int":      "integer()", "elixir.Date": "Date.t()", "elixir.Time": "Time.t()", "elixir.NaiveDateTime": "NaiveDateTime.t()",
	"elixir.DateTime": "DateTime.t()", "elixir.Decimal": "Decimal.t()", "elixir.Range": "Range.t()", "elixir.Exception": "Exception.t()",
}

// ofLibrary is the type of Elixir that a type of a library has, or one that encodes itself; "" of
// others, those with parameters among them.
func ofLibrary(t types.Type) string {
	if named, ok := types.Unalias(t).(*types.Named); ok && named.TypeArgs().Len() == 0 {
		obj := named.Obj()
		if obj.Pkg() != nil && (isOurs(obj) || obj.Pkg().Path() == "math/big") {
			if spec := libraryTypes[obj.Pkg().Name()+"."+obj.Name()]; spec != "" {
				return spec
			}
		}
	}
	if _, isPointer := t.Underlying().(*types.Pointer); !isPointer && encodesItself(t) {
		return "term()"
	}
	return ""
}

func isOurs(obj *types.TypeName) bool {
	return obj.Pkg() != nil && strings.HasPrefix(obj.Pkg().Path(), "github.com/cnode-go/cnode/ei")
}

// zeros are what Go's zero is in some types of Elixir.
var zeros = map[string]string{
	"integer()": "0", "float()": "0.0", "atom()": "nil", "term()": "nil", "map()": "%{}", "list()": "[]", "binary()": `""`,
}

// typeOf is the type of Elixir for one of Go, which something of a struct, or a parameter, has.
func (w *exWriter) typeOf(t types.Type, at place, of string) exType {
	if spec := ofLibrary(t); spec != "" {
		isAtom := spec == "atom()" || spec == "binary()" && at.text != ""
		w.check(at, of, isAtom, false, spec == "tuple()")
		switch {
		case isAtom && at.text == "binary":
			return exType{spec: "String.t()", zero: `""`}
		case isAtom && at.text == "charlist":
			return exType{spec: "charlist()", zero: "[]"}
		}
		return exType{spec: spec, zero: zeros[spec]}
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		if typ, ok := w.named(named, at, of); ok {
			return typ
		}
		if w.under[named] { // type Tree []Tree
			return exType{spec: "term()", zero: "nil"}
		}
		w.under[named] = true
		defer delete(w.under, named)
	}
	return w.unnamed(t, at, of)
}

// unnamed is the type of Elixir that the parts of a Go type give it.
func (w *exWriter) unnamed(t types.Type, at place, of string) exType {
	elem := at
	elem.tuple = false
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Info()&(types.IsComplex|types.IsUntyped) != 0 || u.Kind() == types.UnsafePointer {
			break
		}
		w.check(at, of, u.Info()&types.IsString != 0, false, false)
		return basic(u, at.text)
	case *types.Pointer:
		return w.maybe(w.typeOf(u.Elem(), at, of), at)
	case *types.Interface:
		w.check(at, of, false, false, false)
		return exType{spec: "term()", zero: "nil"}
	case *types.Slice:
		return w.listOf(u.Elem(), -1, at, of)
	case *types.Array:
		return w.listOf(u.Elem(), u.Len(), at, of)
	case *types.Map:
		key := w.typeOf(u.Key(), place{absent: at.absent, name: at.name + "_key"}, of)
		value := w.part(w.typeOf(u.Elem(), elem, of), at)
		w.check(place{tuple: at.tuple}, of, false, false, false)
		return exType{
			spec: "%{optional(" + key.spec + ") => " + value.spec + "}", zero: "%{}",
			nils: w.through(value.nils, "map", "(values), do: Map.new(values, fn {key, value} -> {key, %s(value)} end)"),
		}
	case *types.Struct:
		w.check(at, of, false, false, false)
		return w.structOf(t, u, at.name, of)
	}
	w.fail(&typeError{of, fmt.Sprintf("a %v can be no term", t)})
	return exType{spec: "term()"}
}

// check refuses what a tag says if it is of no use for a type.
func (w *exWriter) check(at place, of string, isText, isDuration, isTuple bool) {
	switch {
	case at.tuple && !isTuple:
		w.fail(&typeError{of, "only a slice or an array can be a tuple"})
	case at.text != "" && !isText:
		w.fail(&typeError{of, "only text has a form of text"})
	case at.unit && !isDuration:
		w.fail(&typeError{of, "only a time.Duration has a unit"})
	}
}

// named is the type of Elixir that the name of a Go type gives it, if it does.
func (w *exWriter) named(t *types.Named, at place, of string) (exType, bool) {
	if args := t.TypeArgs(); args.Len() > 0 && isOurs(t.Obj()) {
		switch t.Obj().Name() {
		case "Optional":
			return w.maybe(w.typeOf(args.At(0), at, of), at), true
		case "Result":
			return w.resultOf(args.At(0), at, of), true
		case "MapSet":
			return exType{spec: "MapSet.t(" + w.typeOf(args.At(0), place{}, of).spec + ")", zero: "MapSet.new()"}, true
		case "Keyword":
			inner := w.part(w.typeOf(args.At(0), place{name: at.name}, of), at)
			nils := w.through(inner.nils, "keyword", "(values), do: Enum.map(values, fn {key, value} -> {key, %s(value)} end)")
			return exType{spec: "keyword(" + inner.spec + ")", zero: "[]", nils: nils}, true
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Struct:
		w.check(at, of, false, false, false)
		return w.structOf(t, u, "", of), true
	case *types.Basic:
		if obj := t.Obj(); obj.Pkg() != nil && obj.Pkg().Path() == "time" && obj.Name() == "Duration" {
			if w.check(at, of, false, true, false); !at.unit {
				w.fail(&typeError{of, `a time.Duration has no unit: tag its field with ei:",ms" (or ns, us, s), elsewhere take an integer`})
			}
			return exType{spec: "non_neg_integer() | :infinity", zero: "0"}, true
		}
		if values := constants(t); values != nil && at.text == "atom" {
			w.check(at, of, true, false, false)
			return exType{spec: w.declared(t, func(name string) { w.declare(name, "", values, "") })}, true
		}
	}
	return exType{}, false
}

// declared is the type of the module for one of Go, which is declared at its first use.
func (w *exWriter) declared(t *types.Named, declare func(name string)) string {
	id := types.TypeString(t, nil)
	name, ok := w.local[id]
	if !ok {
		name = claim(w.taken, typeName(t))
		w.local[id] = name
		declare(name)
	}
	return name + "()"
}

// typeName is the name of a type in Elixir: those of an instance's arguments are a part of it.
func typeName(t *types.Named) string {
	name := ei.SnakeCase(t.Obj().Name())
	for i := range t.TypeArgs().Len() {
		arg := types.TypeString(t.TypeArgs().At(i), func(*types.Package) string { return "" })
		for word := range strings.FieldsFuncSeq(arg, func(r rune) bool { return !isWord(r) }) {
			name += "_" + ei.SnakeCase(word)
		}
	}
	return name
}

func isWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func basic(t *types.Basic, text string) exType {
	switch info := t.Info(); {
	case info&types.IsBoolean != 0:
		return exType{spec: "boolean()", zero: "false"}
	case info&types.IsUnsigned != 0:
		return exType{spec: "non_neg_integer()", zero: "0"}
	case info&types.IsInteger != 0:
		return exType{spec: "integer()", zero: "0"}
	case info&types.IsFloat != 0:
		return exType{spec: "float()", zero: "0.0"}
	case text == "atom":
		return exType{spec: "atom()", zero: "nil"}
	case text == "charlist":
		return exType{spec: "charlist()", zero: "[]"}
	}
	return exType{spec: "String.t()", zero: `""`}
}

// maxSpelledOut is how many elements of an array are written one by one.
const maxSpelledOut = 8

// listOf is a list, or a tuple, of so many elements; -1: any number.
func (w *exWriter) listOf(elem types.Type, n int64, at place, of string) exType {
	isTuple := at.tuple
	at.tuple = false
	if b, ok := types.Unalias(elem).(*types.Basic); ok && b.Kind() == types.Uint8 && !isTuple {
		w.check(at, of, false, false, false)
		if n > 0 {
			return exType{spec: "binary()", zero: fmt.Sprintf("<<0::size(%d)>>", 8*n)}
		}
		return exType{spec: "binary()", zero: `""`}
	}
	inner := w.part(w.typeOf(elem, at, of), at)
	each := strings.Repeat(", "+inner.zero, int(min(max(n, 0), maxSpelledOut)))
	each = strings.TrimPrefix(each, ", ")
	list := exType{spec: "[" + inner.spec + "]", zero: "[" + each + "]"}
	switch {
	case n > maxSpelledOut:
		list.zero = fmt.Sprintf("List.duplicate(%s, %d)", inner.zero, n)
	case n > 0 && inner.zero == "":
		list.zero = ""
	}
	if !isTuple {
		list.nils = w.through(inner.nils, "list", "(values), do: Enum.map(values, &%s/1)")
		return list
	}
	tuple := exType{spec: "tuple()", zero: "{" + each + "}"}
	switch {
	case n > 0 && inner.zero == "":
		tuple.zero = ""
	case n > maxSpelledOut:
		tuple.zero = "List.to_tuple(" + list.zero + ")"
	}
	if n >= 0 && n <= maxSpelledOut {
		tuple.spec = "{" + strings.TrimPrefix(strings.Repeat(", "+inner.spec, int(n)), ", ") + "}"
	}
	tuple.nils = w.through(inner.nils, "tuple", "(values), do: List.to_tuple(Enum.map(Tuple.to_list(values), &%s/1))")
	return tuple
}

// maybe is a type whose values may be absent: in Elixir nil.
func (w *exWriter) maybe(t exType, at place) exType {
	typ := exType{spec: strings.TrimSuffix(t.spec, " | nil") + " | nil", zero: "nil"}
	switch {
	case t.spec == "term()":
		typ.spec = t.spec
	case t.spec == typ.spec && t.nils != "":
		return t
	case t.nils != "":
		typ.nils = w.through(t.nils, "or_nil", "(value) when value in [nil, :undefined], do: nil", "(value), do: %s(value)")
	case at.absent != "nil":
		typ.nils = w.function("absent", "(:undefined), do: nil", "(value), do: value")
	}
	return typ
}

// resultOf is what an ei.Result is.
func (w *exWriter) resultOf(t types.Type, at place, of string) exType {
	at.tuple = false
	if s, ok := t.Underlying().(*types.Struct); ok && s.NumFields() == 0 {
		return exType{spec: ":ok | {:error, term()}", zero: ":ok"}
	}
	inner := w.part(w.typeOf(t, at, of), at)
	typ := exType{spec: "{:ok, " + inner.spec + "} | {:error, term()}", nils: w.inOK(inner.nils)}
	if inner.zero != "" {
		typ.zero = "{:ok, " + inner.zero + "}"
	}
	return typ
}

// inOK is a function for the value in {:ok, value}.
func (w *exWriter) inOK(nils string) string {
	return w.through(nils, "result", "({:ok, value}), do: {:ok, %s(value)}", "(other), do: other")
}

// through makes a function of clauses, which call another one by %s; "" if that is "".
func (w *exWriter) through(nils, suffix string, clauses ...string) string {
	if nils == "" {
		return ""
	}
	for i, c := range clauses {
		if strings.Contains(c, "%s") {
			clauses[i] = fmt.Sprintf(c, nils)
		}
	}
	return w.function(strings.TrimPrefix(nils[strings.LastIndex(nils, ".")+1:]+"_"+suffix, "_"), clauses...)
}

// function declares a private function with some clauses of one line, once.
func (w *exWriter) function(name string, clauses ...string) string {
	id := strings.Join(clauses, "\n")
	if name, ok := w.made[id]; ok {
		return name
	}
	name = claim(w.defined, name)
	w.made[id] = name
	text := ""
	for _, c := range clauses {
		if line := "  defp " + name + c; fits(line) {
			text += line + "\n"
			continue
		}
		head, body, _ := strings.Cut(c, ", do: ")
		text += "  defp " + name + head + " do\n    " + body + "\n  end\n"
	}
	w.functions = append(w.functions, helper{name, text})
	return name
}

// constants are the values that a type of strings has, as atoms.
func constants(t *types.Named) (values []string) {
	if t.Obj().Pkg() == nil {
		return nil
	}
	scope := t.Obj().Pkg().Scope()
	for _, name := range scope.Names() {
		c, ok := scope.Lookup(name).(*types.Const)
		if !ok || !types.Identical(c.Type(), t) || c.Val().Kind() != constant.String {
			continue
		}
		if value := atom(constant.StringVal(c.Val())); !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}
