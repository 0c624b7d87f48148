package term

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// One term is the same in all forms, whichever form it was read in.
func TestForms(t *testing.T) {
	f, err := Convert("elixir", `%{sku: "A1", qty: 3, price: 9.5, tags: [:new, "red"], pair: {:ok, 1}}`, "")
	require.NoError(t, err)
	require.Equal(t, `#{sku => <<"A1">>,qty => 3,price => 9.5,tags => [new,<<"red">>],pair => {ok,1}}`, f.Erlang)
	require.Contains(t, f.Elixir, `sku: "A1"`)
	require.JSONEq(t, `{"sku":"A1","qty":3,"price":9.5,"tags":["new","red"],"pair":["ok",1]}`, f.JSON)
	require.Contains(t, f.Go, "Qty   int       `ei:\"qty\"`")
	require.Contains(t, f.Go, "`ei:\"tuple=ok\"`")
	require.True(t, strings.HasPrefix(f.Bytes, "83 74 00 00 00 05 "), f.Bytes)
	for form, text := range map[string]string{"erlang": f.Erlang, "elixir": f.Elixir, "bytes": f.Bytes} {
		again, err := Convert(form, text, "")
		require.NoError(t, err)
		require.Equal(t, f, again, form)
	}
	again, err := Convert("json", `{"x": [1, 2.0, null, "é", 123456789012345678901]}`, "")
	require.NoError(t, err)
	require.Equal(t, `#{<<"x">> => [1,2.0,null,<<"é"/utf8>>,123456789012345678901]}`, again.Erlang)
}

// The type that is proposed for a term reads the term, and keeps all of it.
func TestGoType(t *testing.T) {
	for text, want := range map[string]string{
		"3":                               "type Message int",
		"123456789012345678901":           "type Message *big.Int",
		"true":                            "type Message bool",
		"<<1,2>>":                         "type Message string",
		"[[a],[b]]":                       "type Message [][]ei.Atom",
		"[a,1]":                           "type Message []ei.Term",
		"[]":                              "type Message []ei.Term",
		`"abc"`:                           "type Message []int",
		"[1|2]":                           "type Message ei.Term",
		`#{<<"x">> => 1}`:                 "type Message map[string]int",
		`#{a => 1,1 => 2}`:                "type Message ei.Map",
		`#{a => 1,'A' => 2}`:              "type Message map[ei.Atom]int",
		`#{'1' => a}`:                     "type Message map[ei.Atom]ei.Atom",
		`#{'a,b' => x}`:                   "type Message map[ei.Atom]ei.Atom",
		"{1,2}":                           "type Message struct {",
		"{}":                              "type Message ei.Tuple",
		"{stop}":                          "type Message ei.Tuple",
		`{order,<<"A1">>,3}`:              "type Message struct {",
		`#{first_name => 1,'b-c' => [1]}`: "type Message struct {",
		`#{'__struct__' => 'Elixir.Shop.Quote',total => 1.5}`: "type Message struct {",
	} {
		term, err := ei.Parse(text)
		require.NoError(t, err)
		f, err := Convert("erlang", text, "")
		require.NoError(t, err)
		require.Equal(t, want, strings.Split(f.Go, "\n")[0], text)
		kept, err := Convert("go", f.Go, f.Bytes)
		require.NoError(t, err, "%s as %s", text, f.Go)
		again, err := ei.Parse(kept.Erlang)
		require.NoError(t, err)
		require.Zero(t, ei.Compare(term, again), "%s became %s", text, kept.Erlang)
	}
	f, err := Convert("erlang", strings.Repeat("[", 100)+strings.Repeat("]", 100), "")
	require.NoError(t, err)
	require.Contains(t, f.Go, "ei.Term")
}

// What an edited type says becomes of the term.
func TestEditedType(t *testing.T) {
	start, err := Convert("erlang", `#{sku => <<"A1">>,qty => 3}`, "")
	require.NoError(t, err)
	f, err := Convert("go", "struct { SKU string `ei:\",atom\"`; Qty *int `ei:\"qty\"`; Note *string }",
		strings.Replace(start.Bytes, "6d 00 00 00 02 41 31", "77 02 41 31", 1)) // the atom 'A1'
	require.NoError(t, err)
	require.Equal(t, `#{note => undefined,qty => 3,sku => 'A1'}`, f.Erlang)

	f, err = Convert("go", "type Order struct {\n\t_ struct{} `ei:\"keys=binary\"`\n\tQty uint8\n}",
		`83 74 00 00 00 01 6d 00 00 00 03 71 74 79 61 03`)
	require.NoError(t, err)
	require.Equal(t, `#{<<"qty">> => 3}`, f.Erlang)
}

// What is wrong is said with its place.
func TestWrong(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"erlang", "{a,\n b", "line 2, column 3: "},
		{"erlang", "foo(1)", "line 1, column 4: "},
		{"elixir", "%{a: ", "line 1, column 6: "},
		{"json", "{\n \"a\": x}", "line 2, column 7: "},
		{"json", "[1", "EOF"},
		{"json", "1 2", "more than one value"},
		{"json", "1e999", "range"},
		{"go", "type T struct {\n\tA in t\n}", "line 2, column 7: "},
		{"go", "func()", "has no term"},
		{"go", "struct { A, A int }", "duplicate"},
		{"go", "Order", "the type Order is not known here"},
		{"go", "[1 << 40]int", "the length of an array"},
		{"go", "struct { A int }", "a map"},
		{"go", "type A int\ntype B int", "not one declaration"},
		{"go", "map[[]int]int", "no Go type: "},
		{"bytes", "83 6", "odd length"},
		{"bytes", "83 zz", "invalid byte"},
		{"xml", "", "none of the forms"},
	} {
		_, err := Convert(c.form, c.text, "83 61 01")
		require.ErrorContains(t, err, c.want, "%s: %s", c.form, c.text)
	}
	f, err := Convert("bytes", "83 68 02 61 01 6d 00 00 00 ff", "")
	require.Error(t, err)
	require.Len(t, f.Parts, 3, "the version, the tuple and its first element")

	f, err = Convert("erlang", `#{a => 1,<<"a">> => 2}`, "")
	require.NoError(t, err)
	require.Contains(t, f.Missing["json"], "a")
}

// The parts are the bytes, none twice and none left out, with every tag that has a form of its own.
func TestExplain(t *testing.T) {
	for text, want := range map[string]string{
		"[]": "106 NIL_EXT", "1": "97 SMALL_INTEGER_EXT", "-1": "98 INTEGER_EXT", "1.5": "70 NEW_FLOAT_EXT", "a": "119 SMALL_ATOM_UTF8_EXT",
		"<<1:1>>": "77 BIT_BINARY_EXT", `"ab"`: "107 STRING_EXT", "123456789012345678901": "110 SMALL_BIG_EXT", "fun m:f/1": "113 EXPORT_EXT",
		"#Pid<a@h.1.2.3>": "88 NEW_PID_EXT", "{[x|y],#{1 => {}}}": "104 SMALL_TUPLE_EXT",
	} {
		term, err := ei.Parse(text)
		require.NoError(t, err)
		b, err := ei.Marshal(term)
		require.NoError(t, err)
		parts, err := Explain(b)
		require.NoError(t, err)
		at := 0
		for _, p := range parts {
			require.Equal(t, at, p.At, text)
			at += p.Len
		}
		require.Equal(t, len(b), at, text)
		require.Equal(t, want, parts[1].Tag)
		require.NotEmpty(t, parts[1].Text)
	}
	parts, err := Explain([]byte{131, 104, 2, 97, 1, 106})
	require.NoError(t, err)
	require.Equal(t, Part{3, 2, 1, "97 SMALL_INTEGER_EXT", "an integer: 1"}, parts[2])

	b, err := ei.Marshal(make([]bool, 3*maxParts))
	require.NoError(t, err)
	parts, err = Explain(b)
	require.NoError(t, err)
	require.Len(t, parts, maxParts+1)
}
