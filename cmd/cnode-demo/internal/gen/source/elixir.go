package source

import (
	"cmp"
	"errors"
	"fmt"
	"go/constant"
	"go/types"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

var variableSyntax = regexp.MustCompile(`^[a-z_][A-Za-z0-9_]*[?!]?$`)

// reserved are words that Elixir keeps for itself, as variables or as functions.
var reserved = strings.Fields("do end fn and or not in when true false nil after else rescue catch case cond for quote unquote " +
	"unquote_splicing alias require import receive super try with node timeout def defmodule")

// builtinTypes are names of types that no module defines anew.
var builtinTypes = strings.Fields("t any none atom map pid port reference tuple float integer list binary bitstring boolean byte char " +
	"charlist fun function identifier iodata iolist keyword mfa module no_return number struct term arity as_boolean string dynamic")

// An exType is a type of Elixir.
type exType struct {
	spec   string
	zero   string // what Go's zero is; "": a struct needs a value for it
	absent bool   // Go may send undefined, in place of nil
}

type exWriter struct {
	client bool // the only module is that of a client
	names  map[*types.TypeName]string
	types  []string // of the module that is being written
	later  []later
	under  map[*types.Named]bool // that have no name there, and whose parts are being written
	err    error
}

// later is a module that is still to be written.
type later struct {
	obj    *types.TypeName
	layout layout
	name   string
}

// ElixirOfType writes the module of an Elixir struct for a Go type, and for the structs in it.
func ElixirOfType(p *Package, name, module string) ([]byte, error) {
	obj, ok := p.Types.Scope().Lookup(name).(*types.TypeName)
	if !ok {
		return nil, fmt.Errorf("package %s has no type %s", p.Types.Path(), name)
	}
	s, ok := obj.Type().Underlying().(*types.Struct)
	if !ok {
		return nil, fmt.Errorf("%s.%s is no struct", p.Types.Name(), name)
	}
	l, err := layoutOf(s)
	if err != nil {
		return nil, err
	}
	if l.kind != "struct" {
		module = cmp.Or(module, goName(path.Base(p.Types.Path()))+"."+name)
	}
	module = cmp.Or(module, strings.TrimPrefix(l.name, "Elixir."))
	if !IsAlias(ei.Atom("Elixir." + module)) {
		return nil, fmt.Errorf("%q is no name of an Elixir module", module)
	}
	w := &exWriter{under: map[*types.Named]bool{}, names: map[*types.TypeName]string{}, later: []later{{obj, l, module}}}
	if l.kind == "struct" && l.name == "Elixir."+module { // else Go sends, and takes, something else for one within it
		w.names[obj] = module
	}
	var b strings.Builder
	b.WriteString("# " + Written + "\n")
	for i := 0; i < len(w.later); i++ { // each may bring more
		w.module(&b, w.later[i])
	}
	return []byte(b.String()), w.err
}

// libraryTypes are the types of packages that have a type of Elixir.
var libraryTypes = map[string]string{
	"ei.Atom": "atom()", "ei.Pid": "pid()", "ei.Ref": "reference()", "ei.Port": "port()", "ei.Term": "term()", "ei.Raw": "term()",
	"ei.Map": "map()", "ei.List": "list()", "ei.Tuple": "tuple()", "ei.Binary": "binary()", "ei.Bitstring": "bitstring()",
	"ei.Int": "integer()", "ei.Float": "float()", "ei.String": "charlist()", "ei.Fun": "fun()", "ei.Export": "fun()",
	"big.Int": "integer()", "elixir.Date": "Date.t()", "elixir.Time": "Time.t()", "elixir.NaiveDateTime": "NaiveDateTime.t()",
	"elixir.DateTime": "DateTime.t()", "elixir.Decimal": "Decimal.t()", "elixir.Range": "Range.t()", "elixir.Exception": "Exception.t()",
}

// ofLibrary is the type of Elixir that a type of a library has; "" of others, those with parameters
// among them.
func ofLibrary(t types.Type) string {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.TypeArgs().Len() > 0 {
		return ""
	}
	if obj := named.Obj(); obj.Pkg() != nil && (isOurs(obj) || obj.Pkg().Path() == "math/big") {
		return libraryTypes[obj.Pkg().Name()+"."+obj.Name()]
	}
	if slices.ContainsFunc([]types.Type{t, types.NewPointer(t)}, func(t types.Type) bool {
		return types.NewMethodSet(t).Lookup(nil, "AppendTerm") != nil
	}) {
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

// typeOf is the type of Elixir for one of Go, in a field with some options.
func (w *exWriter) typeOf(t types.Type, options []string) exType {
	has := func(o string) bool { return slices.Contains(options, o) }
	if spec := ofLibrary(t); spec == "atom()" && has("binary") {
		return exType{spec: "String.t()", zero: `""`}
	} else if spec != "" {
		return exType{spec: spec, zero: zeros[spec]}
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		if typ := w.named(named, options); typ.spec != "" {
			return typ
		}
		if w.under[named] { // type Tree []Tree
			return exType{spec: "term()", zero: "nil"}
		}
		w.under[named] = true
		defer delete(w.under, named)
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return basic(u, has)
	case *types.Pointer:
		return maybe(w.typeOf(u.Elem(), options))
	case *types.Interface:
		return exType{spec: "term()", zero: "nil"}
	case *types.Slice:
		return w.listOf(u.Elem(), options)
	case *types.Array:
		return w.listOf(u.Elem(), options)
	case *types.Map:
		return exType{spec: "%{optional(" + w.typeOf(u.Key(), options).spec + ") => " + w.typeOf(u.Elem(), options).spec + "}", zero: "%{}"}
	}
	w.err = cmp.Or(w.err, fmt.Errorf("a %v can be no term", t))
	return exType{spec: "term()"}
}

// named is the type of Elixir that the name of a Go type gives it, if it does.
func (w *exWriter) named(t *types.Named, options []string) exType {
	if of := t.TypeArgs(); of.Len() > 0 && isOurs(t.Obj()) {
		inner := w.typeOf(of.At(0), options)
		switch t.Obj().Name() {
		case "Optional":
			return maybe(inner)
		case "Result":
			return exType{spec: "{:ok, " + inner.spec + "} | {:error, term()}"}
		case "MapSet":
			return exType{spec: "MapSet.t(" + inner.spec + ")", zero: "MapSet.new()"}
		case "Keyword":
			return exType{spec: "keyword(" + inner.spec + ")", zero: "[]"}
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Struct:
		return w.structOf(t.Obj(), u)
	case *types.Basic:
		if values := constants(t); values != nil && slices.Contains(options, "atom") {
			return exType{spec: strings.Join(values, " | ")}
		}
		if t.Obj().Name() == "Duration" {
			return exType{spec: "non_neg_integer() | :infinity", zero: "0"}
		}
	}
	return exType{}
}

func basic(t *types.Basic, has func(string) bool) exType {
	switch info := t.Info(); {
	case info&types.IsBoolean != 0:
		return exType{spec: "boolean()", zero: "false"}
	case info&types.IsUnsigned != 0:
		return exType{spec: "non_neg_integer()", zero: "0"}
	case info&types.IsInteger != 0:
		return exType{spec: "integer()", zero: "0"}
	case info&types.IsFloat != 0:
		return exType{spec: "float()", zero: "0.0"}
	case has("atom"):
		return exType{spec: "atom()", zero: "nil"}
	case has("charlist"):
		return exType{spec: "charlist()", zero: "[]"}
	}
	return exType{spec: "String.t()", zero: `""`}
}

func (w *exWriter) listOf(elem types.Type, options []string) exType {
	if b, ok := elem.Underlying().(*types.Basic); ok && b.Kind() == types.Uint8 {
		return exType{spec: "binary()", zero: `""`}
	}
	if slices.Contains(options, "tuple") {
		return exType{spec: "tuple()"}
	}
	return exType{spec: "[" + w.typeOf(elem, options).spec + "]", zero: "[]"}
}

// maybe is a type whose values may be absent: in Elixir nil.
func maybe(t exType) exType {
	return exType{spec: strings.TrimSuffix(t.spec, " | nil") + " | nil", zero: "nil", absent: true}
}

// constants are the values that a type of strings has, as atoms.
func constants(t *types.Named) (values []string) {
	if t.Obj().Pkg() == nil {
		return nil
	}
	scope := t.Obj().Pkg().Scope()
	for _, name := range scope.Names() {
		if c, ok := scope.Lookup(name).(*types.Const); ok && types.Identical(c.Type(), t) && c.Val().Kind() == constant.String {
			values = append(values, printable(ei.Atom(constant.StringVal(c.Val()))))
		}
	}
	return values
}

// structOf is a struct of Go: a struct of Elixir if its tag says so, else a type of the module.
func (w *exWriter) structOf(obj *types.TypeName, s *types.Struct) exType {
	name, done := w.names[obj]
	if !done {
		l, err := layoutOf(s)
		if err != nil {
			w.err = cmp.Or(w.err, fmt.Errorf("%s: %w", obj.Name(), err))
		}
		if l.kind == "" && l.fields == nil && s.NumFields() > 0 {
			w.err = cmp.Or(w.err, fmt.Errorf("%s.%s has no field that could be sent", obj.Pkg().Name(), obj.Name()))
		}
		isModule := l.kind == "struct" && IsAlias(ei.Atom(l.name)) && !w.client
		if name = ei.SnakeCase(obj.Name()); isModule {
			name = strings.TrimPrefix(l.name, "Elixir.")
		}
		for slices.Contains(reserved, name) || slices.Contains(builtinTypes, name) ||
			slices.Contains(slices.Collect(maps.Values(w.names)), name) {
			name += "_"
		}
		w.names[obj] = name
		if isModule {
			w.later = append(w.later, later{obj, l, name})
		} else {
			w.localType(l, name)
		}
	}
	if unicode.IsUpper(rune(name[0])) {
		return exType{spec: name + ".t()"}
	}
	return exType{spec: name + "()"}
}

// listed joins parts, on lines of their own if they are many.
func listed(open string, parts []string, end string) string {
	if text := open + strings.Join(parts, ", ") + end; len(text) < 90 {
		return text
	}
	return open + "\n    " + strings.Join(parts, ",\n    ") + "\n  " + end
}

// localType writes a type of what Go sends.
func (w *exWriter) localType(l layout, name string) {
	var specs, maybe, parts []string
	for _, f := range l.fields {
		spec := w.typeOf(f.typ, f.options).spec
		specs = append(specs, spec)
		if slices.Contains(f.options, "omitempty") {
			maybe = append(maybe, "optional(:"+f.key+") => "+spec)
		} else {
			parts = append(parts, f.key+": "+spec)
		}
	}
	var text string
	switch l.kind {
	case "tuple":
		if l.name != "" {
			specs = append([]string{printable(ei.Atom(l.name))}, specs...)
		}
		text = listed("{", specs, "}")
	case "proplist":
		text = "keyword()"
	case "keys=binary":
		text = "%{optional(String.t()) => term()}"
	case "struct":
		text = listed("%{", slices.Concat(maybe, []string{"__struct__: " + printable(ei.Atom(l.name))}, parts), "}")
	default:
		text = listed("%{", append(maybe, parts...), "}")
	}
	w.types = append(w.types, "  @type "+name+" :: "+text+"\n")
}

// module writes the module of a struct.
func (w *exWriter) module(b *strings.Builder, m later) {
	obj, l, name := m.obj, m.layout, m.name
	isSame := l.kind == "struct" && l.name == "Elixir."+name // Go sends the struct
	w.types = nil
	maps.DeleteFunc(w.names, func(_ *types.TypeName, name string) bool { return !unicode.IsUpper(rune(name[0])) })
	var enforced, fields, specs, in, out, pattern []string
	normal := ""
	for i, f := range l.fields {
		t := w.typeOf(f.typ, f.options)
		if t.zero == "" {
			enforced, t.zero = append(enforced, ":"+f.key), "nil"
		}
		fields, specs = append(fields, f.key+": "+t.zero), append(specs, f.key+": "+t.spec)
		source, value := "go."+f.key, f.key+": value."+f.key
		switch {
		case l.kind == "tuple":
			source, value = fmt.Sprintf("x%d", i+1), "value."+f.key
			pattern = append(pattern, source)
		case l.kind == "keys=binary":
			source, value = fmt.Sprintf("go[%q]", f.key), fmt.Sprintf("%q => value.%s", f.key, f.key)
		case l.kind == "proplist" || slices.Contains(f.options, "omitempty"):
			source = "go[:" + f.key + "]"
		}
		if t.absent && l.kind != "struct" {
			source, normal = "normal("+source+")", "\n  defp normal(:undefined), do: nil\n  defp normal(value), do: value\n"
		}
		in, out = append(in, f.key+": "+source), append(out, value)
	}
	param, to := "%{} = go", listed("%{", out, "}")
	switch {
	case l.kind == "struct":
		to = listed("%{", append([]string{"__struct__: " + printable(ei.Atom(l.name))}, out...), "}")
	case l.kind == "tuple":
		if l.name != "" {
			tag := []string{printable(ei.Atom(l.name))}
			pattern, out = append(tag, pattern...), append(tag, out...)
		}
		param, to = listed("{", pattern, "}"), listed("{", out, "}")
	case l.kind == "proplist":
		param, to = "go", listed("[", out, "]")
	}
	from := listed("%__MODULE__{", in, "}")
	if isSame {
		param, from, to = "%__MODULE__{} = go", "go", "value"
	}
	fmt.Fprintf(b, "\ndefmodule %s do\n  @moduledoc \"The Go type %s.%s.\"\n", name, obj.Pkg().Name(), obj.Name())
	if enforced != nil {
		fmt.Fprintf(b, "  %s\n", listed("@enforce_keys [", enforced, "]"))
	}
	fmt.Fprintf(b, "  %s\n\n", listed("defstruct [", fields, "]"))
	fmt.Fprintf(b, "%s  @type t :: %s\n", strings.Join(w.types, ""), listed("%__MODULE__{", specs, "}"))
	fmt.Fprintf(b, "\n  @doc \"Of what Go sends.\"\n  @spec from(term()) :: t()\n  def from(%s), do: %s\n", param, from)
	fmt.Fprintf(b, "\n  @doc \"What Go takes.\"\n  @spec to(t()) :: term()\n  def to(%%__MODULE__{} = value), do: %s\n%send\n", to, normal)
}

// ElixirClient writes a module that calls what a program exposes and serves. It also returns what
// it has left out, and why.
func ElixirClient(p *Package, module string) (text []byte, unclear []string, err error) {
	if !IsAlias(ei.Atom("Elixir." + module)) {
		return nil, nil, fmt.Errorf("%q is no name of an Elixir module", module)
	}
	calls, unclear := p.calls()
	if calls == nil {
		return nil, unclear, fmt.Errorf("package %s exposes and serves nothing: %w", p.Types.Path(), errNothing)
	}
	w := &exWriter{client: true, under: map[*types.Named]bool{}, names: map[*types.TypeName]string{}}
	taken := map[string]bool{}
	var functions strings.Builder
	for _, c := range calls {
		name := ei.SnakeCase(c.name)
		if taken[name] || slices.Contains(reserved, name) || !variableSyntax.MatchString(name) {
			name = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(c.module+"_"+c.name), "_"), "_")
		}
		if taken[name] || !variableSyntax.MatchString(name) {
			unclear = append(unclear, fmt.Sprintf("%s:%s: there is no name for it in Elixir that is free", c.module, c.name))
			continue
		}
		taken[name] = true
		w.function(&functions, name, c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\ndefmodule %s do\n  @moduledoc \"Calls what a node of the Go program %s exposes and serves.\"\n", Written, module,
		escape(p.Types.Path()))
	if w.types != nil {
		b.WriteString("\n" + strings.Join(w.types, ""))
	}
	b.WriteString(functions.String() + "end\n")
	return []byte(b.String()), unclear, w.err
}

var errNothing = errors.New("it has no call of Node.Expose, Node.ExposeMethods or Node.Serve that says more")

// escape makes a text a part of a string of Elixir.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
	quoted := string(elixir.AppendText(nil, ei.Binary(text)))
	return quoted[1 : len(quoted)-1]
}

func (w *exWriter) function(b *strings.Builder, name string, c call) {
	params, specs, args, result := []string{"node"}, []string{"node()"}, []string{}, "term()"
	more := ""
	if c.sig == nil { // it takes terms
		params, specs, more = append(params, "args"), append(specs, "[term()]"), "args"
	} else {
		for i := range c.sig.Params().Len() {
			v := c.sig.Params().At(i)
			if i == 0 && types.TypeString(v.Type(), nil) == "context.Context" {
				continue
			}
			param := ei.SnakeCase(v.Name())
			if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(param) || slices.Contains(reserved, param) || slices.Contains(params, param) {
				param = fmt.Sprintf("arg%d", i+1)
			}
			params, specs = append(params, param), append(specs, w.typeOf(v.Type(), nil).spec)
			if c.sig.Variadic() && i == c.sig.Params().Len()-1 {
				more = param
			} else {
				args = append(args, param)
			}
		}
		result = w.result(c.sig)
	}
	list := "[" + strings.Join(args, ", ") + "]"
	if more != "" && len(args) > 0 {
		list += " ++ " + more
	} else if more != "" {
		list = more
	}
	target, function := printable(ei.Atom(c.module)), printable(ei.Atom(c.name))
	body := fmt.Sprintf(":erpc.call(node, %s, %s, %s, timeout)", target, function, list)
	if c.isServer {
		request := "{" + strings.Join(append([]string{function}, args...), ", ") + "}"
		switch {
		case more != "":
			request = "List.to_tuple([" + function + " | " + list + "])"
		case len(args) == 0:
			request = function
		case c.name == "":
			request = args[0]
		}
		body = fmt.Sprintf("GenServer.call({%s, node}, %s, timeout)", target, request)
		result += " | {:error, term()}"
	}
	doc := cmp.Or(strings.TrimSpace(c.doc), "Calls "+strings.TrimSuffix(c.module+":"+c.name, ":")+".")
	fmt.Fprintf(b, "\n  @doc \"%s\"\n  @spec %s(%s, timeout()) :: %s\n  def %[2]s(%[5]s, timeout \\\\ 5_000) do\n    %[6]s\n  end\n",
		escape(doc), name, strings.Join(specs, ", "), result, strings.Join(params, ", "), body)
}

// result is the type of what nodes.FuncOf makes of a function's results.
func (w *exWriter) result(sig *types.Signature) string {
	n := sig.Results().Len()
	if n > 0 && types.TypeString(sig.Results().At(n-1).Type(), nil) == "error" {
		n--
	}
	if n == 0 {
		return ":ok"
	}
	spec := w.typeOf(sig.Results().At(0).Type(), nil).spec
	if n == 2 {
		return "{:ok, " + spec + "} | :error"
	}
	return spec
}
