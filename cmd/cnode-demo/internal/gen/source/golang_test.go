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

// What Elixir 1.14 has told of the structs of test/interop/gen/testdata/shop.ex.
func TestGoOfStruct(t *testing.T) {
	text, err := os.ReadFile("testdata/shop.terms")
	require.NoError(t, err)
	for name, file := range map[ei.Atom]string{"Elixir.Shop.Order": "order.go.txt", "Elixir.Shop.Bare": "bare.go.txt"} {
		source, err := GoOfStruct("shop", name, told(t, string(text)))
		require.NoError(t, err)
		golden(t, file, source)
	}
	_, err = GoOfStruct("shop", "Elixir.Shop.None", told(t, string(text)))
	require.EqualError(t, err, "x@test has no module Shop.None")
	_, err = GoOfStruct("shop", "Elixir.Shop.Types", told(t, string(text)))
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
		source, err := GoOfStruct("a", "Elixir.A", told(t, one(typ, `,
			{attribute, 0, type, {own, {type, 0, list, [{user_type, 0, own, []}]}, []}},
			{attribute, 0, typep, {any_of, {type, 0, list, [{var, 0, 'X'}]}, [{var, 0, 'X'}]}}`)))
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
	"github.com/cnode-go/cnode/ei": "package ei; type Term any; type Atom string; type Pid struct{}; type Ref struct{ x []int };" +
		"type Port struct{}; type Tuple []Term; type Map []Term",
	"github.com/cnode-go/cnode/ei/elixir": "package elixir; type Date struct{}; type Time struct{}; type DateTime struct{};" +
		"type NaiveDateTime struct{}; type Decimal struct{ x []int }; type Range struct{}; type Exception struct{};" +
		"type MapSet[T comparable] struct{}; type Keyword[T any] []T",
}

type importStandIn map[string]*types.Package

func (i importStandIn) Import(path string) (p *types.Package, err error) {
	if i[path] == nil {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, standIns[path], 0)
		if err != nil {
			return nil, err
		}
		if i[path], err = (&types.Config{}).Check(path, set, []*ast.File{f}, nil); err != nil {
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
			source, err := GoOfStruct("a", "Elixir.A", told(t, text))
			require.NoError(t, err)
			declared(t, source)
		}
		key := `[{'Elixir.A', #{'__struct__' => 'Elixir.A', ` + quoted + ` => 1}, []}]`
		if source, err := GoOfStruct("a", "Elixir.A", told(t, key)); err == nil {
			declared(t, source)
		}
		record := `[{a, nil, [{attribute, 0, record, {` + quoted + `, [{record_field, 0, {atom, 0, ` + quoted + `}}]}}]}]`
		if source, err := GoOfRecord("a", "a", ei.Atom(name), told(t, record)); err == nil {
			declared(t, source)
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
	source, err := GoOfStruct("a", "Elixir.A", told(t, one(`{user_type, 0, l0, [{type, 0, integer, []}]}`, levels.String())))
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
		if source, err := GoOfStruct("shop", "Elixir.Shop.Order", look); err == nil {
			declared(t, source)
			written++
		} else {
			require.NotContains(t, err.Error(), "expected", "the source does not parse")
		}
	}
	require.Greater(t, written, 250)
}
