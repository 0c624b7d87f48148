package ask

import (
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/stretchr/testify/require"
)

// MOD is a module of Elixir's, or one of Erlang's.
func TestModule(t *testing.T) {
	for word, want := range map[string]string{"Enum": "Elixir.Enum", "Elixir.Enum": "Elixir.Enum", "Elixir": "Elixir", ":lists": "lists",
		"lists": "lists", "": ""} {
		require.Equal(t, want, (&syntax{name: "elixir"}).module(word))
		require.Equal(t, word, (&syntax{name: "erlang"}).module(word))
	}
}

// Arguments are read, and a result is printed, in the syntax that was asked for.
func TestSyntax(t *testing.T) {
	for _, c := range []struct {
		how        syntax
		args, want string
	}{
		{syntax{name: "erlang"}, `[#{a => 1}]`, `#{a => 1}`},
		{syntax{name: "elixir"}, `[%{a: 1}]`, `%{a: 1}`},
		{syntax{name: "elixir"}, `[~D[2026-01-31]]`, `~D[2026-01-31]`},
		{syntax{name: "elixir"}, `~c"a"`, `97`},
		{syntax{name: "elixir", asJSON: true}, `[%{a: nil, b: {:ok, "x"}}]`, `{"a":null,"b":["ok","x"]}`},
		{syntax{name: "erlang", asJSON: true}, `["a"]`, `[97]`},
	} {
		require.NoError(t, c.how.check())
		list, err := c.how.parseArgs(c.args)
		require.NoError(t, err, c.args)
		got, err := c.how.print(list[0].(ei.Term))
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	for _, c := range []struct {
		how        syntax
		args, says string
	}{
		{syntax{name: "erlang"}, "[%{a: 1}]", `want a list such as '[1, "two", {three}]'`},
		{syntax{name: "elixir"}, "[x]", "a variable: an atom is :x"},
		{syntax{name: "elixir"}, "[#{a => 1}]", `want a list such as '[1, "two", {:three}]'`},
		{syntax{name: "elixir"}, "{1}", "not {1}"},
	} {
		_, err := c.how.parseArgs(c.args)
		require.ErrorContains(t, err, c.says)
	}
	require.ErrorContains(t, (&syntax{name: "lisp"}).check(), "--syntax lisp: want erlang or elixir")
	twice, err := (&syntax{name: "elixir"}).parse(`%{"a" => 1, a: 2}`)
	require.NoError(t, err)
	_, err = (&syntax{name: "elixir", asJSON: true}).print(twice)
	require.ErrorContains(t, err, "--json: the result is #{")
}
