package source

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file.
func golden(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(text))
}

// told is a Lookup of a list of {Module, Struct, Forms}, as text.
func told(t testing.TB, text string) Lookup {
	all, err := ei.Parse(strings.TrimSuffix(strings.TrimSpace(text), "."))
	require.NoError(t, err)
	return func(name ei.Atom) (*Module, error) {
		for _, e := range elements(all) {
			if m := e.(ei.Tuple); m[0] == name {
				of, _ := m[1].(ei.Map)
				forms, _ := ei.Elements(m[2])
				return &Module{name, of, forms}, nil
			}
		}
		return nil, &UnknownModuleError{name, "x@test"}
	}
}

// structure writes the types of one struct.
func structure(pkg string, module ei.Atom, look Lookup) ([]byte, []string, error) {
	files, warnings, err := GoTypes(pkg, []Root{{Module: module}}, false, nil, look)
	return files[""], warnings, err
}

// What Elixir 1.14 has told of the structs of test/interop/gen/testdata/shop.ex.
func TestGoOfStruct(t *testing.T) {
	text, err := os.ReadFile("testdata/shop.terms")
	require.NoError(t, err)
	for name, file := range map[ei.Atom]string{"Elixir.Shop.Order": "order.go.txt", "Elixir.Shop.Bare": "bare.go.txt"} {
		source, _, err := structure("shop", name, told(t, string(text)))
		require.NoError(t, err)
		golden(t, file, source)
	}
	_, _, err = structure("shop", "Elixir.Shop.None", told(t, string(text)))
	require.EqualError(t, err, "x@test has no module Shop.None")
	_, _, err = structure("shop", "Elixir.Shop.Types", told(t, string(text)))
	require.EqualError(t, err, "module Shop.Types defines no struct: it has no function __struct__/0")
}

// one is a struct with a field f of some type.
func one(typ, rest string) string {
	return `[{'Elixir.A', #{'__struct__' => 'Elixir.A', f => nil}, [{attribute, 0, type, {t, {type, 0, map, [
		{type, 0, map_field_exact, [{atom, 0, '__struct__'}, {atom, 0, 'Elixir.A'}]},
		{type, 0, map_field_exact, [{atom, 0, f}, ` + typ + `]}]}, []}}` + rest + `]}]`
}

func TestTypes(t *testing.T) {
	for typ, want := range map[string]string{
		`{type, 0, integer, []}`:                                                                "F int64",
		`{type, 0, range, [{integer, 0, 1}, {integer, 0, 9}]}`:                                  "F uint64",
		`{type, 0, binary, []}`:                                                                 "F []byte",
		`{type, 0, binary, [{integer, 0, 16}, {integer, 0, 8}]}`:                                "F []byte",
		`{type, 0, binary, [{integer, 0, 1}, {integer, 0, 0}]}`:                                 "F ei.Term // binary(1, 0)",
		`{type, 0, union, [{type, 0, pid, []}, {atom, 0, nil}]}`:                                "F *ei.Pid",
		`{type, 0, union, [{atom, 0, true}, {atom, 0, false}]}`:                                 "F bool",
		`{type, 0, union, [{atom, 0, true}, {atom, 0, maybe}]}`:                                 "F AF `ei:\",atom\"`",
		`{type, 0, union, [{type, 0, integer, []}, {atom, 0, infinity}]}`:                       "F ei.Term // integer() | :infinity",
		`{type, 0, union, [{type, 0, union, [{type, 0, atom, []}, {atom, 0, nil}]}]}`:           "F *ei.Atom",
		`{type, 0, list, [{type, 0, list, [{type, 0, float, []}]}]}`:                            "F [][]float64",
		`{type, 0, list, [{user_type, 0, t, []}]}`:                                              "F []A",
		`{user_type, 0, t, []}`:                                                                 "F *A",
		`{type, 0, list, []}`:                                                                   "F []ei.Term",
		`{type, 0, map, any}`:                                                                   "F ei.Map // map()",
		`{type, 0, tuple, any}`:                                                                 "F ei.Tuple // tuple()",
		`{type, 0, tuple, [{atom, 0, ok}]}`:                                                     "F ei.Tuple // {:ok}",
		`{user_type, 0, none, []}`:                                                              "F ei.Term // none()",
		`{user_type, 0, own, []}`:                                                               "F []ei.Term // own()",
		`{user_type, 0, any_of, [{type, 0, integer, []}]}`:                                      "F []int64",
		`{remote_type, 0, [{atom, 0, 'Elixir.B'}, {atom, 0, t}, []]}`:                           "F ei.Term // B.t()",
		`{remote_type, 0, [{atom, 0, 'Elixir.DateTime'}, {atom, 0, t}, []]}`:                    "F elixir.DateTime",
		`{remote_type, 0, [{atom, 0, 'Elixir.MapSet'}, {atom, 0, t}, [{type, 0, pid, []}]]}`:    "F elixir.MapSet[ei.Pid]",
		`{remote_type, 0, [{atom, 0, 'Elixir.MapSet'}, {atom, 0, t}, [{type, 0, binary, []}]]}`: "F ei.Term // MapSet.t(binary())",
		`{remote_type, 0, [{atom, 0, elixir}, {atom, 0, keyword}, []]}`:                         "F elixir.Keyword[ei.Term]",
		`{type, 0, 'fun', []}`:                                                                  "F ei.Term // fun()",
		`{type, 0, nothing_known, []}`:                                                          "F ei.Term // nothing_known()",
		`{strange}`:                                                                             "F ei.Term // term()",
		`[]`:                                                                                    "F ei.Term // term()",
	} {
		source, _, err := structure("a", "Elixir.A", told(t, strings.Replace(one(typ, `,
			{attribute, 0, type, {own, {type, 0, list, [{user_type, 0, own, []}]}, []}},
			{attribute, 0, typep, {any_of, {type, 0, list, [{var, 0, 'X'}]}, [{var, 0, 'X'}]}}`), "f => nil", "f => {}", 1)))
		require.NoError(t, err, typ)
		declared(t, source)
		require.Contains(t, squeeze(string(source)), "\n"+want+"\n", typ)
	}
}

func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

// standIns are the packages that sources import.
var standIns = map[string]string{
	"time":     "package time; type Duration int64; const Millisecond Duration = 1e6",
	"math":     "package math; const MaxInt64 = 1<<63 - 1",
	"math/big": "package big; type Int struct{}; func NewInt(int64) *Int { return nil }",
	"github.com/cnode-go/cnode/ei": "package ei; type Term any; type Atom string; type Pid struct{}; type Ref struct{ x []int };" +
		"type Port struct{}; type Tuple []Term; type Map []Pair; type Pair struct { Key, Value Term }; type List []Term; type Int int64;" +
		"type Float float64; type Binary []byte; type String string; type Export struct { Module, Function Atom; Arity uint8 };" +
		"type Optional[T any] struct { Value T; Valid bool }; type Result[T any] struct { Value T; Err error };" +
		"type ReasonError struct { Reason Term }; func (*ReasonError) Error() string { return \"\" }",
	"github.com/cnode-go/cnode/ei/elixir": "package elixir; import \"math/big\"; import \"github.com/cnode-go/cnode/ei\";" +
		"type Date struct{ Year, Month, Day int };" +
		"type Microsecond struct { Value, Precision int }; type Time struct{ Hour, Minute, Second int; Microsecond Microsecond };" +
		"type NaiveDateTime struct{ Date Date; Time Time };" +
		"type DateTime struct{ Date Date; Time Time; UTCOffset, StdOffset int; TimeZone, ZoneAbbr string };" +
		"type Decimal struct{ Neg bool; Coef *big.Int; Exp int; x []int }; type Range struct{ First, Last, Step int64 };" +
		"type Exception struct{}; func (*Exception) Error() string { return \"\" }; type Member struct{};" +
		"type MapSet[T comparable] struct{ Members map[T]Member; Version int };" +
		"func NewMapSet[T comparable](elements ...T) (s MapSet[T]) { return s };" +
		"type Keyword[T any] []Pair[T]; type Pair[T any] struct { Key ei.Atom; Value T }",
}

type importStandIn map[string]*types.Package

func (i importStandIn) Import(path string) (p *types.Package, err error) {
	if i[path] == nil {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, standIns[path], 0)
		if err != nil {
			return nil, err
		}
		if i[path], err = (&types.Config{Importer: i}).Check(path, set, []*ast.File{f}, nil); err != nil {
			return nil, err
		}
	}
	return i[path], nil
}

var imported = importStandIn{}

// declared checks that a source compiles, and has no function but those that give defaults.
func declared(t testing.TB, source []byte) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "x.go", source, 0)
	require.NoError(t, err, "%s", source)
	_, err = (&types.Config{Importer: imported}).Check("x", set, []*ast.File{f}, nil)
	require.NoError(t, err, "%s", source)
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			require.True(t, strings.HasPrefix(fn.Name.Name, "New"), "%s", source)
		}
	}
}

// hostile are names by which a peer may try to write code.
var hostile = []string{
	"x\nfunc init() {}", "x\n}\nfunc init() {}\ntype y struct {",
	"`\"\nfunc init() {}", "*/func init() {}", `a,"b`, "a`b", "a\u2028b", "", "ä b",
}

// No name that a peer gives leaves its place in the source.
func TestHostile(t *testing.T) {
	for _, name := range hostile {
		quoted := ei.Atom(name).String()
		for _, typ := range []string{
			`{atom, 0, X}`, `{type, 0, union, [{atom, 0, X}, {atom, 0, y}]}`,
			`{type, 0, X, []}`, `{user_type, 0, X, []}`, `{user_type, 0, any_of, [{var, 0, X}]}`,
			`{remote_type, 0, [{atom, 0, X}, {atom, 0, X}, []]}`, `{type, 0, tuple, [{atom, 0, X}, {type, 0, integer, []}]}`,
			`{type, 0, tuple, [{ann_type, 0, [{var, 0, X}, {type, 0, integer, []}]}]}`,
			`{type, 0, map, [{type, 0, map_field_exact, [{atom, 0, X}, {type, 0, integer, []}]}]}`,
			`{type, 0, map, [{type, 0, map_field_exact, [{atom, 0, '__struct__'}, {atom, 0, X}]}]}`,
		} {
			text := strings.ReplaceAll(one(typ, `, {attribute, 0, type, {X, {type, 0, union, [{atom, 0, a}, {atom, 0, b}]}, []}},
				{attribute, 0, type, {any_of, {var, 0, 'P'}, [{var, 0, 'P'}]}}`), "X", quoted)
			text = strings.Replace(text, "f => nil", "f => "+quoted, 1)
			source, _, err := structure("a", "Elixir.A", told(t, text))
			require.NoError(t, err)
			declared(t, source)
		}
		key := `[{'Elixir.A', #{'__struct__' => 'Elixir.A', ` + quoted + ` => 1}, []}]`
		if source, _, err := structure("a", "Elixir.A", told(t, key)); err == nil {
			declared(t, source)
		}
		record := `[{a, nil, [{attribute, 0, record, {` + quoted + `, [{record_field, 0, {atom, 0, ` + quoted + `}}]}}]}]`
		if files, _, err := GoTypes("a", []Root{{"A", ei.Atom(name)}}, false, nil, told(t, record)); err == nil {
			declared(t, files[""])
		}
	}
}

// Types with parameters that double at each level come to an end.
func TestGrowth(t *testing.T) {
	var levels strings.Builder
	for i := range 45 {
		next := fmt.Sprintf("{user_type, 0, l%d, [{var, 0, 'X'}]}", i+1)
		pair := fmt.Sprintf("{type, 0, map_field_exact, [%s, {type, 0, list, [%[1]s]}]}", next)
		fmt.Fprintf(&levels, ", {attribute, 0, type, {l%d, {type, 0, map, [%s]}, [{var, 0, 'X'}]}}", i, pair)
	}
	source, _, err := structure("a", "Elixir.A", told(t, one(`{user_type, 0, l0, [{type, 0, integer, []}]}`, levels.String())))
	require.NoError(t, err)
	declared(t, source)
}

// mangle replaces parts of a term by others.
func mangle(r *rand.Rand, t ei.Term, parts *[]ei.Term) ei.Term {
	if r.IntN(150) == 0 {
		switch r.IntN(3) {
		case 0:
			return ei.Atom(hostile[r.IntN(len(hostile))])
		case 1:
			return (*parts)[r.IntN(len(*parts))]
		}
		return ei.List{ei.Atom("nil"), t}
	}
	*parts = append(*parts, t)
	switch t := t.(type) {
	case ei.Tuple:
		out := ei.Tuple{}
		for _, e := range t {
			out = append(out, mangle(r, e, parts))
		}
		return out
	case ei.List:
		out := ei.List{}
		for _, e := range t {
			out = append(out, mangle(r, e, parts))
		}
		return out
	case ei.Map:
		out := ei.Map{}
		for _, p := range t {
			out = append(out, ei.Pair{Key: mangle(r, p.Key, parts), Value: mangle(r, p.Value, parts)})
		}
		return out
	}
	return t
}

// Whatever a node tells, the source is Go and nothing but types, or there is an error.
func TestMangled(t *testing.T) {
	text, err := os.ReadFile("testdata/shop.terms")
	require.NoError(t, err)
	all, err := ei.Parse(strings.TrimSuffix(strings.TrimSpace(string(text)), "."))
	require.NoError(t, err)
	written := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		look := func(name ei.Atom) (*Module, error) {
			for _, e := range elements(all) {
				if m := e.(ei.Tuple); m[0] == name {
					of, _ := mangle(r, m[1], &[]ei.Term{m}).(ei.Map)
					forms, _ := ei.Elements(mangle(r, m[2], &[]ei.Term{m}))
					return &Module{name, of, forms}, nil
				}
			}
			return nil, &UnknownModuleError{name, "x@test"}
		}
		if source, _, err := structure("shop", "Elixir.Shop.Order", look); err == nil {
			declared(t, source)
			written++
		} else {
			require.NotContains(t, err.Error(), "expected", "the source does not parse")
		}
	}
	require.Greater(t, written, 250)
}

// module is a module with a struct, whose typespecs are given, as text.
func module(name, defaults, forms string) string {
	return "{'" + name + "', #{'__struct__' => '" + name + "', " + defaults + "}, [" + forms + "]}"
}

// typed is a type that a module defines for its struct.
func typed(module, name, fields, params string) string {
	return "{attribute, 0, type, {" + name + ", {type, 0, map, [{type, 0, map_field_exact, [{atom, 0, '__struct__'}, {atom, 0, '" + module +
		"'}]}" + fields + "]}, [" + params + "]}}"
}

func pair(key, typ string) string {
	return ", {type, 0, map_field_exact, [{atom, 0, " + key + "}, " + typ + "]}"
}

const (
	anInteger = "{type, 0, integer, []}"
	okInteger = "{type, 0, tuple, [{atom, 0, ok}, {type, 0, integer, []}]}"
	anError   = "{type, 0, tuple, [{atom, 0, error}, {type, 0, term, []}]}"
	someOpts  = "{type, 0, list, [{type, 0, union, [{type, 0, tuple, [{atom, 0, timeout}, {type, 0, timeout, []}]}, " +
		"{type, 0, tuple, [{atom, 0, name}, {type, 0, atom, []}]}]}]}"
)

// Types of fields, with their defaults.
func TestDefaults(t *testing.T) {
	for _, tt := range []struct{ typ, initial, field, value, warning string }{
		{okInteger + ", " + anError, "{ok, 1}", "F ei.Result[int64]", "ei.Result[int64]{Value: 1}", ""},
		{okInteger + ", " + anError, "{error, a}", "F ei.Result[int64]", `ei.Result[int64]{Err: &ei.ReasonError{Reason: ei.Atom("a")}}`, ""},
		{"{atom, 0, ok}, " + anError, "ok", "F ei.Result[struct{}]", "", ""},
		{okInteger + ", " + anError + ", {atom, 0, nil}", "nil", "F *ei.Result[int64]", "", ""},
		{okInteger + ", {atom, 0, error}", "error", "F ei.Term // {:ok, integer()} | :error", `ei.Atom("error")`, ""},
		{"{type, 0, binary, []}, {atom, 0, nil}", "nil", "F ei.Optional[[]byte]", "", ""},
		{"{type, 0, binary, []}, {atom, 0, nil}", `<<"a">>`, "F ei.Optional[[]byte]", `ei.Optional[[]byte]{Value: []byte("a"), Valid: true}`, ""},
		{anInteger, "nil", "F *int64", "", "A: f: its default is nil, which its type, integer(), is not: the field may be absent"},
		{anInteger, "a", "F int64", "", "A: f: its default, :a, is no int64: NewA leaves it zero"},
		{anInteger + ", {atom, 0, nil}", "7", "F *int64", "new(int64(7))", ""},
		{"{type, 0, non_neg_integer, []}", "-1", "F uint64", "", "A: f: its default, -1, is no uint64: NewA leaves it zero"},
		{"{integer, 0, 1}, {integer, 0, 2}", "2", "F int64", "2", ""},
		{someOpts, "[{timeout, 5}]", "F elixir.Keyword[ei.Term]", `elixir.Keyword[ei.Term]{{Key: "timeout", Value: ei.Int(5)}}`, ""},
		{"{type, 0, timeout, []}", "5000", "F time.Duration `ei:\",ms\"`", "5000 * time.Millisecond", ""},
		{"{type, 0, timeout, []}", "infinity", "F time.Duration `ei:\",ms\"`", "math.MaxInt64", ""},
		{"{type, 0, string, []}", `"abc"`, "F string `ei:\",charlist\"`", `"abc"`, ""},
		{"{atom, 0, a}, {atom, 0, 'b c'}", "'b c'", "F AF `ei:\",atom\"`", "AFBC", ""},
		{"{type, 0, term, []}", "{1, [2.5, #{a => nil}], fun lists:map/2}", "F ei.Term", "ei.Tuple{ei.Int(1), ei.List{ei.Float(2.5), " +
			`ei.Map{{Key: ei.Atom("a"), Value: ei.Atom("nil")}}}, ei.Export{Module: "lists", Function: "map", Arity: 2}}`, ""},
		{"{type, 0, map, any}", "#{a => 1}", "F ei.Map // map()", `ei.Map{{Key: ei.Atom("a"), Value: ei.Int(1)}}`, ""},
		{"", "[{a, 1}, {b, 2}]", "F elixir.Keyword[int64]", `elixir.Keyword[int64]{{Key: "a", Value: 1}, {Key: "b", Value: 2}}`, ""},
		{"", "an_atom", "F ei.Atom", `"an_atom"`, ""},
		{"", "[]", "F []ei.Term", "", ""},
		{"", "[1, a]", "F []ei.Term", `[]ei.Term{ei.Int(1), ei.Atom("a")}`, ""},
		{"", "#{}", "F ei.Map", "", ""},
		{"", `#{<<"a">> => 1}`, "F map[string]int64", `map[string]int64{"a": 1}`, ""},
		{"", "{1, a}", "F AF", `AF{E1: 1, E2: "a"}`, ""},
		{"", "nil", "F ei.Term // of no known type", "", ""},
	} {
		forms := ""
		if tt.typ != "" {
			forms = typed("Elixir.A", "t", pair("f", "{type, 0, union, ["+tt.typ+"]}"), "")
		}
		source, warnings, err := structure("a", "Elixir.A", told(t, "["+module("Elixir.A", "f => "+tt.initial, forms)+"]"))
		require.NoError(t, err)
		declared(t, source)
		text := squeeze(string(source))
		require.Contains(t, text, "\n"+tt.field+"\n", tt)
		if tt.value != "" {
			require.Contains(t, text, "\nF: "+tt.value+",\n", tt)
		} else {
			require.NotContains(t, text, "NewA", tt)
		}
		require.Equal(t, tt.warning, strings.Join(warnings, "\n"), tt)
	}
}

// A list of pairs is a struct where its name says that each is there once; t() is asked before
// t(term()), wherever it stands; instances of a type with parameters are apart.
func TestStructTypes(t *testing.T) {
	page := func(forms ...string) string {
		return module("Elixir.Page", "items => []", strings.Join(forms, ", "))
	}
	items := pair("items", "{type, 0, list, [{var, 0, a}]}")
	general := typed("Elixir.Page", "t", items, "{var, 0, a}")
	special := "{attribute, 0, type, {t, {user_type, 0, t, [" + anInteger + "]}, []}}"
	for _, forms := range [][]string{{general, special}, {special, general}} {
		source, _, err := structure("a", "Elixir.Page", told(t, "["+page(forms...)+"]"))
		require.NoError(t, err)
		require.Contains(t, squeeze(string(source)), "\nItems []int64\n")
	}
	user := module("Elixir.User", "of_texts => nil, own => nil, opts => [], all_options => []", typed("Elixir.User", "t",
		pair("of_texts", "{remote_type, 0, [{atom, 0, 'Elixir.Page'}, {atom, 0, t}, [{type, 0, float, []}]]}")+
			pair("own", "{remote_type, 0, [{atom, 0, 'Elixir.Page'}, {atom, 0, t}, []]}")+
			pair("opts", someOpts)+pair("all_options", "{type, 0, list, [{user_type, 0, option, []}]}"), "")+
		", {attribute, 0, type, {option, {type, 0, tuple, [{atom, 0, loud}, {type, 0, boolean, []}]}, []}}")
	look := told(t, "["+page(general, special)+", "+user+"]")
	files, _, err := GoTypes("a", []Root{{Module: "Elixir.Page"}, {Module: "Elixir.User"}}, true, nil, look)
	require.NoError(t, err)
	require.Len(t, files, 2)
	text := squeeze(string(files["user.go"]))
	for _, line := range []string{
		"OfTexts *PageFloat64", "Own *Page", "Opts UserOpts", "AllOptions UserAllOptions", "_ struct{} `ei:\"proplist\"`",
		"Timeout *time.Duration `ei:\",ms,omitempty\"`", "Name *ei.Atom `ei:\",omitempty\"`", "Loud *bool `ei:\",omitempty\"`",
	} {
		require.Contains(t, text, "\n"+line+"\n")
	}
	require.Contains(t, squeeze(string(files["page.go"])), "\nItems []float64\n")
}

// Names as Go has them.
func TestGoName(t *testing.T) {
	for name, want := range map[string]string{
		"id": "ID", "cpu": "CPU", "cpu_url": "CPUURL", "user_ids": "UserIDs", "https": "HTTPS", "dns_name": "DNSName", "json": "JSON",
		"identity": "Identity", "paid?": "Paid", "__meta__": "Meta", "ключ": "Ключ", "1st": "X1st", "URL": "URL", "?": "",
	} {
		require.Equal(t, want, goName(name), name)
	}
	for module, want := range map[ei.Atom]string{
		"Elixir.Shop.Order": "order.go", "Elixir.Shop.OrderTest": "ordertest.go", "Elixir.A.Linux_Amd64": "linuxamd64.go", "till": "till.go",
		"../../x": "x.go", "": "types.go",
	} {
		require.Equal(t, want, fileName(module))
	}
}

// A record has any name that a tag can have.
func TestRecordName(t *testing.T) {
	text := "[{a, nil, [{attribute, 0, record, {'Strange Name', [{record_field, 0, {atom, 0, 'foo-bar'}}]}}]}]"
	files, _, err := GoTypes("a", []Root{{"a", "Strange Name"}}, false, nil, told(t, text))
	require.NoError(t, err)
	require.Contains(t, squeeze(string(files[""])),
		"\ntype StrangeName struct {\n_ struct{} `ei:\"tuple=Strange Name\"`\nFooBar ei.Term // of no known type\n")
}

// What is nil in a map, or a tuple, within a struct of Elixir is sent as nil, too.
func TestNils(t *testing.T) {
	typ := "{type, 0, map, [{type, 0, map_field_exact, [{atom, 0, a}, {type, 0, union, [" + anInteger + ", {atom, 0, nil}]}]}]}"
	source, _, err := structure("a", "Elixir.A", told(t, one(typ, "")))
	require.NoError(t, err)
	require.Contains(t, squeeze(string(source)), "\ntype AF struct {\n_ struct{} `ei:\"nil\"`\nA *int64\n")
}

// A key that can be no field leaves out that field.
func TestOddKeys(t *testing.T) {
	source, warnings, err := structure("a", "Elixir.A", told(t, "["+module("Elixir.A", "'foo-bar' => 1, '1st' => 2, n => 3, 4 => 5", "")+"]"))
	require.NoError(t, err)
	declared(t, source)
	require.Contains(t, squeeze(string(source)), "\nN int64\n}\n")
	require.Equal(t, []string{
		"A: the key 4 cannot be that of a Go field: it is left out",
		`A: the key :"1st" cannot be that of a Go field: it is left out`,
		`A: the key :"foo-bar" cannot be that of a Go field: it is left out`,
	}, warnings)
}

// A struct that another file of the package has a type for is referred to. Go has no literal of it
// for a default.
func TestThere(t *testing.T) {
	look := told(t, `[{'Elixir.Order', #{'__struct__' => 'Elixir.Order', line => #{'__struct__' => 'Elixir.Line', n => 1}}, []},
		{'Elixir.Line', #{'__struct__' => 'Elixir.Line', n => 0}, []}]`)
	there := map[ei.Atom]string{"Elixir.Line": "Row", "Elixir.Order": "Old"}
	files, warnings, err := GoTypes("a", []Root{{Module: "Elixir.Order"}}, false, there, look)
	require.NoError(t, err)
	require.Contains(t, squeeze(string(files[""])), "type Order struct {\n_ struct{} `ei:\"struct=Elixir.Order\"`\nLine Row\n}")
	require.NotContains(t, string(files[""]), "type Line")
	require.Len(t, warnings, 1)
}
