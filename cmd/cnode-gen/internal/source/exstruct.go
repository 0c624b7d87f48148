package source

import (
	"cmp"
	"fmt"
	"go/types"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// lineWidth is that of mix format.
const lineWidth = 98

func fits(line string) bool { return utf8.RuneCountInString(line) <= lineWidth }

// A listing is parts in brackets: on one line if they fit, else each on a line of its own. Of what
// is broken after the bracket, mix format leaves it as it is.
type listing struct {
	open  string
	parts []string
	end   string
}

func (l listing) line() string { return l.open + strings.Join(l.parts, ", ") + l.end }

func (l listing) broken(indent string) string {
	if len(l.parts) == 0 {
		return l.open + l.end
	}
	return l.open + "\n" + indent + "  " + strings.Join(l.parts, ",\n"+indent+"  ") + "\n" + indent + l.end
}

// after is the listing in a line that begins so, and goes on so.
func (l listing) after(before, rest, indent string) string {
	if text := before + l.line() + rest; fits(text) {
		return text
	}
	return before + l.broken(indent) + rest
}

// keyword is a key as a keyword list, and a map, has it.
func keyword(key string) string { return key + ": " }

// atom is an atom, without quotes that it does not need: Elixir warns of those.
func atom(name string) string {
	if text := printable(ei.Atom(name)); !strings.HasPrefix(text, `:"`) || !keySyntax.MatchString(name) {
		return text
	}
	return ":" + name
}

// getter is what reads a key of a map.
func getter(of, key string) string {
	if variableSyntax.MatchString(key) {
		return of + "." + key
	}
	return "Map.fetch!(" + of + ", " + atom(key) + ")"
}

// structOf is a struct of Go: a struct of Elixir if its tag says so, else a type of the module.
func (w *exWriter) structOf(t types.Type, s *types.Struct, name, of string) exType {
	id := types.TypeString(t, nil)
	if module, ok := w.modules[id]; ok {
		return w.moduleType(module, t)
	}
	if local, ok := w.local[id]; ok {
		return exType{spec: local + "()", nils: w.nils[id]}
	}
	in := ""
	if named, ok := types.Unalias(t).(*types.Named); ok {
		in = of + ": "
		name, of = typeName(named), named.Obj().Pkg().Name()+"."+named.Obj().Name()
	}
	l, err := layoutOf(s, of)
	if err != nil {
		w.fail(fmt.Errorf("%s%w", in, err))
	}
	if s.NumFields() == 0 {
		return exType{spec: "%{}", zero: "%{}"}
	}
	module := strings.TrimPrefix(l.name, "Elixir.")
	isTaken := slices.Contains(slices.Collect(maps.Values(w.modules)), module) // by another instance
	_, isDefined := w.project[module]
	if l.kind == "struct" && IsAlias(ei.Atom(l.name)) && !isTaken && (isDefined || !w.isClient) {
		w.modules[id] = module
		if w.project != nil && !isDefined {
			w.missing = append(w.missing, fmt.Sprintf("the project does not define %s yet: write it by --go of %s", module, of))
		}
		if isDefined && !w.hasFrom(module) && w.hasNils(t, "", map[string]bool{}) {
			w.nilsByHand(id, l, of)
		}
		return w.moduleType(module, t)
	}
	name = claim(w.taken, cmp.Or(name, "anonymous"))
	w.local[id] = name
	if w.hasNils(t, "", map[string]bool{}) {
		w.nils[id] = claim(w.defined, name+"_nils")
	}
	w.localType(l, name, w.nils[id])
	return exType{spec: name + "()", nils: w.nils[id]}
}

// nilsByHand makes the function for a struct whose module, written by hand, has no function from/1.
// The types of its fields are that module's.
func (w *exWriter) nilsByHand(id string, l layout, of string) {
	name := ei.SnakeCase(of[strings.LastIndex(of, ".")+1:])
	w.nils[id] = claim(w.defined, name+"_nils")
	types, local := w.types, maps.Clone(w.local)
	w.localType(l, name, w.nils[id])
	w.types, w.local = types, local
}

func (w *exWriter) moduleType(module string, t types.Type) exType {
	typ := exType{spec: module + ".t()", nils: w.nils[types.TypeString(t, nil)]}
	if w.hasFrom(module) && w.hasNils(t, "", map[string]bool{}) {
		typ.nils = module + ".from"
	}
	return typ
}

// hasNils tells whether Go may send something else than nil, or nothing, where a type says nil.
func (w *exWriter) hasNils(t types.Type, absent ei.Atom, seen map[string]bool) bool {
	if ofLibrary(t) != "" {
		return false
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		id := types.TypeString(t, nil)
		if seen[id] {
			return false
		}
		seen[id] = true
		if args := named.TypeArgs(); args.Len() > 0 && isOurs(named.Obj()) {
			switch named.Obj().Name() {
			case "Optional":
				return w.hasNils(types.NewPointer(args.At(0)), absent, seen)
			case "Result":
				return w.hasNils(args.At(0), absent, seen)
			case "MapSet":
				return false
			case "Keyword":
				return w.hasNils(args.At(0), "", seen)
			}
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		if _, isAny := u.Elem().Underlying().(*types.Interface); isAny || ofLibrary(u.Elem()) == "term()" {
			return false
		}
		return absent != "nil" || w.hasNils(u.Elem(), absent, seen)
	case *types.Slice:
		return w.hasNils(u.Elem(), absent, seen)
	case *types.Array:
		return w.hasNils(u.Elem(), absent, seen)
	case *types.Map:
		return w.hasNils(u.Elem(), absent, seen)
	case *types.Struct:
		l, _ := layoutOf(u, "")
		fills := l.kind == "struct" && w.hasFrom(strings.TrimPrefix(l.name, "Elixir."))
		return !l.isOpen() && slices.ContainsFunc(l.fields, func(f goField) bool {
			return fills && (f.omit || f.loose) || w.hasNils(f.typ, f.at.absent, seen)
		})
	}
	return false
}

// hasFrom tells whether a module has a function from/1, which makes a whole struct of Go's.
func (w *exWriter) hasFrom(module string) bool {
	at, isDefined := w.project[module]
	return at.ByGen || !isDefined && !w.isClient
}

// isOpen tells whether the type of Elixir does not say what the keys are.
func (l layout) isOpen() bool {
	return l.kind == "proplist" || l.kind == "keys=binary" || l.kind == "keys=string"
}

// declare declares a type: a choice if there are no brackets.
func (w *exWriter) declare(name, open string, parts []string, end string) {
	text := listing{open, parts, end}.after("  @type "+name+" :: ", "\n", "        ")
	if open == "" {
		if text = "  @type " + name + " :: " + strings.Join(parts, " | "); !fits(text) {
			text = "  @type " + name + " ::\n          " + strings.Join(parts, "\n          | ")
		}
		text += "\n"
	}
	w.types = append(w.types, text)
}

// maxPart is how wide a type may be within another one.
const maxPart = 50

// part is a type within another one, at a place.
func (w *exWriter) part(t exType, at place) exType {
	if at.name != "" {
		t.spec = w.short(t.spec, at.name+"_part", maxPart)
	}
	return t
}

// short is a type that is not wider than there is room for: one that would be has a name.
func (w *exWriter) short(spec, name string, room int) string {
	if utf8.RuneCountInString(spec) <= room {
		return spec
	}
	name = claim(w.taken, name)
	w.declare(name, "", choices(spec), "")
	return name + "()"
}

// choices takes a union apart.
func choices(spec string) (parts []string) {
	depth, start, quoted := 0, 0, false
	for i := 0; i < len(spec); i++ {
		switch c := spec[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("([{<", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0 || c == '>' && spec[i-1] != '=':
			depth--
		case c == '|' && depth == 0:
			parts, start = append(parts, strings.TrimSpace(spec[start:i])), i+1
		}
	}
	return append(parts, strings.TrimSpace(spec[start:]))
}

// localType writes a type of what Go sends, and the function that gives it its nils.
func (w *exWriter) localType(l layout, name, nils string) {
	var specs, loose, parts, pattern, steps []string
	for i, f := range l.fields {
		f.at.name = name + "_" + f.key
		t := w.typeOf(f.typ, f.at, f.of)
		spec := w.short(t.spec, f.at.name, lineWidth-len("          optional(:) => ,")-len(f.key))
		specs = append(specs, spec)
		if f.omit || f.loose {
			loose = append(loose, "optional("+atom(f.key)+") => "+spec)
		} else {
			parts = append(parts, keyword(f.key)+spec)
		}
		element := fmt.Sprintf("x%d", i+1)
		pattern = append(pattern, element)
		if t.nils != "" {
			steps = append(steps, "Map.replace_lazy(value, "+atom(f.key)+", &"+t.nils+"/1)")
			element = t.nils + "(" + element + ")"
		}
		if l.kind == "tuple" {
			steps = append(steps, element)
		}
	}
	var tag []string
	if l.name != "" {
		tag = []string{atom(l.name)}
	}
	switch l.kind {
	case "tuple":
		w.declare(name, "{", append(tag, specs...), "}")
		if nils != "" {
			elements := slices.DeleteFunc(steps, func(s string) bool { return strings.HasPrefix(s, "Map.") })
			param, body := listing{"{", append(tag, pattern...), "}"}, listing{"{", append(tag, elements...), "}"}
			w.functions = append(w.functions, helper{nils, define("defp", nils, param, body)})
		}
		return
	case "proplist":
		w.declare(name, "", []string{"keyword()"}, "")
	case "atom":
		w.declare(name, "", tag, "")
	case "keys=binary":
		w.declare(name, "", []string{"%{optional(String.t()) => term()}"}, "")
	case "keys=string":
		w.declare(name, "", []string{"%{optional(charlist()) => term()}"}, "")
	case "struct":
		w.declare(name, "%{", slices.Concat(loose, []string{"__struct__: " + tag[0]}, parts), "}")
	default:
		w.declare(name, "%{", append(loose, parts...), "}")
	}
	if nils != "" {
		w.functions = append(w.functions, helper{nils, piped(nils, steps)})
	}
}

// piped is a function that changes its argument, step by step.
func piped(name string, steps []string) string {
	if len(steps) == 1 {
		return define("defp", name, listing{open: "value"}, listing{open: steps[0]})
	}
	text := "  defp " + name + "(value) do\n    value\n"
	for _, s := range steps {
		text += "    |> " + strings.Replace(s, "(value, ", "(", 1) + "\n"
	}
	return text + "  end\n"
}

// define is a function of one parameter, and steps that its value goes through in the end.
func define(def, name string, param, body listing, steps ...string) string {
	head := "  " + def + " " + name + "("
	if line := head + param.line() + "), do: " + body.line() + "\n"; fits(line[:len(line)-1]) && steps == nil {
		return line
	}
	text := param.after(head, ") do", "      ") + "\n" + body.after("    ", "\n", "    ")
	for _, s := range steps {
		text += "    |> " + s + "\n"
	}
	return text + "  end\n"
}

// A member is a field of the struct of Elixir.
type member struct {
	goField
	exType
	missing bool // Go leaves it out, and has no zero for it that Elixir could have: it is nil
}

// A structModule is the module of a struct.
type structModule struct {
	of     string // the Go type, as its package calls it
	layout layout
	name   string
}

// module writes the module of a struct.
func (w *exWriter) module(b *strings.Builder, m structModule) {
	w.begin("from", "to")
	var members []member
	var enforced, fields, specs, missing []string
	for _, f := range m.layout.fields {
		f.at.name = f.key
		x := member{goField: f, exType: w.typeOf(f.typ, f.at, f.of)}
		if x.missing = f.loose || f.omit && x.zero == ""; x.missing {
			x.exType = w.maybe(x.exType, place{absent: "nil"})
			missing = append(missing, m.layout.keyOf(f.key))
		}
		if x.zero == "" {
			enforced, x.zero = append(enforced, atom(f.key)), "nil"
		}
		members = append(members, x)
		fields = append(fields, keyword(f.key)+x.zero)
		specs = append(specs, keyword(f.key)+w.short(x.spec, f.key, lineWidth-len("          : ,")-len(f.key)))
	}
	fmt.Fprintf(b, "\ndefmodule %s do\n  @moduledoc \"The Go type %s.\"\n", m.name, m.of)
	if missing != nil {
		b.WriteString("\n" + listing{"[", missing, "]"}.after("  @left_out ", "\n", "  "))
	}
	if enforced != nil {
		b.WriteString("\n" + listing{"[", enforced, "]"}.after("  @enforce_keys ", "\n", "  "))
	}
	b.WriteString("\n" + defstruct(fields) + "\n" + strings.Join(w.types, ""))
	b.WriteString(listing{"%__MODULE__{", specs, "}"}.after("  @type t :: ", "\n", "        "))
	from := m.from(members)
	fmt.Fprintf(b, "\n  @doc \"Of what Go sends.\"\n  @spec from(term()) :: t()\n%s", from)
	fmt.Fprintf(b, "\n  @doc \"What Go takes.\"\n  @spec to(t()) :: term()\n%s", m.to(members, missing != nil))
	b.WriteString(w.helpers(from) + "end\n")
}

func defstruct(fields []string) string {
	line := "  defstruct " + strings.Join(fields, ", ")
	switch {
	case fields == nil:
		return "  defstruct []\n"
	case fits(line):
		return line + "\n"
	}
	return "  defstruct " + strings.Join(fields, ",\n            ") + "\n"
}

// isSame tells whether Go sends the struct.
func (m structModule) isSame() bool {
	return m.layout.kind == "struct" && m.layout.name == "Elixir."+m.name
}

// keyOf is a key as Go sends it.
func (l layout) keyOf(key string) string {
	if l.kind == "keys=binary" {
		return quoted(key)
	}
	return atom(key)
}

// quoted is a text as a string of Elixir.
func quoted(text string) string { return string(elixir.AppendText(nil, ei.Binary(text))) }

// from is the function that makes the struct.
func (m structModule) from(members []member) string {
	var in, pattern []string
	isWhole := true // Go sends all of it
	for i, x := range members {
		source := getter("go", x.key)
		switch {
		case m.layout.kind == "tuple":
			source = fmt.Sprintf("x%d", i+1)
			pattern = append(pattern, source)
		case m.layout.kind == "proplist":
			source = "Keyword.get(go, " + m.layout.keyOf(x.key) + ", " + x.zero + ")"
		case (x.omit || x.loose) && x.zero == "nil":
			source = "go[" + m.layout.keyOf(x.key) + "]"
			if m.isSame() {
				source = "Map.get(go, " + m.layout.keyOf(x.key) + ")" // a struct has no Access
			}
		case x.omit || x.loose:
			source = "Map.get(go, " + m.layout.keyOf(x.key) + ", " + x.zero + ")"
		case m.layout.kind == "keys=binary":
			source = "go[" + m.layout.keyOf(x.key) + "]"
		}
		if x.nils != "" {
			source = x.nils + "(" + source + ")"
		}
		isWhole = isWhole && x.nils == "" && !x.omit && !x.loose
		in = append(in, keyword(x.key)+source)
	}
	param, body := listing{open: "%{} = go"}, listing{"%__MODULE__{", in, "}"}
	switch {
	case m.isSame() && isWhole:
		param.open, body = "%__MODULE__{} = go", listing{open: "go"}
	case m.isSame():
		param.open = "%__MODULE__{} = go"
	case m.layout.kind == "tuple":
		param = listing{"{", append(m.layout.tagged(), pattern...), "}"}
	case m.layout.kind == "proplist" && len(members) == 0:
		param.open = "_go"
	case m.layout.kind == "proplist":
		param.open = "go"
	case len(members) == 0:
		param.open = "%{}"
	}
	return define("def", "from", param, body)
}

// tagged is the first element of a tuple, if there is one before the fields.
func (l layout) tagged() []string {
	if l.name == "" {
		return nil
	}
	return []string{atom(l.name)}
}

// to is the function that gives what Go takes.
func (m structModule) to(members []member, leavesOut bool) string {
	var out []string
	for _, x := range members {
		value := getter("value", x.key)
		switch m.layout.kind {
		case "tuple":
			out = append(out, value)
		case "keys=binary":
			out = append(out, m.layout.keyOf(x.key)+" => "+value)
		default:
			out = append(out, keyword(x.key)+value)
		}
	}
	param, body := listing{open: "%__MODULE__{} = value"}, listing{"%{", out, "}"}
	switch {
	case m.isSame():
		body = listing{open: "value"}
	case m.layout.kind == "struct":
		body.parts = append([]string{"__struct__: " + atom(m.layout.name)}, out...)
	case m.layout.kind == "tuple":
		body = listing{"{", append(m.layout.tagged(), out...), "}"}
	case m.layout.kind == "proplist":
		body = listing{"[", out, "]"}
	}
	if len(members) == 0 && !m.isSame() {
		param.open = "%__MODULE__{}"
	}
	if !leavesOut {
		return define("def", "to", param, body)
	}
	module := "Map"
	if m.layout.kind == "proplist" {
		module = "Enum"
	}
	return define("def", "to", param, body, module+".reject(fn {key, value} -> value == nil and key in @left_out end)")
}
