package interop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A parcel is a record, {parcel, Weight, Tags}; a place a map.
type parcel struct {
	_      struct{} `ei:"tuple=parcel"`
	Weight float64
	Tags   []ei.Atom
}

type place struct {
	City string
	Zone ei.Optional[int]
}

// A depot's methods are functions, and requests of a server.
type depot struct {
	parcels []parcel
	calls   chan string
}

func (d *depot) Store(_ context.Context, p parcel, at place) (int, error) {
	switch {
	case p.Weight > 100:
		return 0, &ei.ReasonError{Reason: ei.Tuple{ei.Atom("too_heavy"), ei.Float(p.Weight)}}
	case at.City == "":
		return 0, errors.New("no city")
	}
	d.parcels = append(d.parcels, p)
	return len(d.parcels), nil
}

func (d *depot) HeaviestOf(ws ...float64) (heaviest float64) {
	for _, w := range ws {
		heaviest = max(heaviest, w)
	}
	return heaviest
}

func (d *depot) First() (parcel, error) {
	if len(d.parcels) == 0 {
		return parcel{}, &nodes.Raise{Class: nodes.ClassThrow, Reason: ei.Atom("empty")}
	}
	return d.parcels[0], nil
}

func (d *depot) Note(ctx context.Context, text string) {
	d.calls <- fmt.Sprint(text, " ", nodes.CallOf(ctx) != nil)
}

// Erlang calls functions of Go types, and a server made of them.
func typedCalled(t *testing.T, m *meeting) {
	d := &depot{calls: make(chan string, 10)}
	require.NoError(t, m.n.ExposeMethods("depot", d))
	m.n.Expose("go", "upper", nodes.FuncOf(strings.ToUpper))
	on, err := nodes.MethodsOf(d)
	require.NoError(t, err)
	on[""] = nodes.FuncOf(func(p place) string { return "in " + p.City })
	_, err = m.n.Serve("depot", nodes.Server{On: on}, nil)
	require.NoError(t, err)
	m.is(t, [][2]string{
		{`erpc:call(N, go, upper, [<<"abc">>])`, `<<"ABC">>`},
		{`erpc:call(N, go, upper, [["a", <<"bc">>]])`, `<<"ABC">>`},
		{`erpc:call(N, go, upper, [])`, `error:{exception,undef,[{go,upper,[],[]},{go,upper,0,[{file,"did you mean go:upper/1?"},{line,0}]}]}`},
		{`erpc:call(N, go, upper, [1, "two"])`,
			`error:{exception,undef,[{go,upper,[1,"two"],[]},{go,upper,2,[{file,"did you mean go:upper/1?"},{line,0}]}]}`},
		{`erpc:call(N, go, upper, [abc])`,
			`error:{exception,badarg,[{go,upper,[abc],[]},{go,upper,1,[{file,"argument 1: ei: atom abc where text is due"},{line,0}]}]}`},
		{`rpc:call(N, go, upper, [[-1]])`,
			`{badrpc,{'EXIT',{badarg,[{go,upper,[[-1]],[]},{go,upper,1,[{file,"argument 1: ei: list [-1] where text is due"},{line,0}]}]}}}`},
		{`rpc:block_call(N, go, upper, [<<"abc">>])`, `<<"ABC">>`},
		{`erpc:call(N, erlang, apply, [fun go:upper/1, [<<"abc">>]])`, `<<"ABC">>`},
		{`erpc:call(N, erlang, apply, [go, upper, [<<"abc">>]])`, `<<"ABC">>`},
		{`{P, R} = spawn_opt(N, go, upper, [1], [monitor]), receive {'DOWN', R, _, P, {Why, Stack}} -> {Why, hd(Stack)} end`,
			`{badarg,{go,upper,[1],[]}}`},

		{`erpc:call(N, depot, first, [])`, `throw:empty`},
		{`erpc:call(N, depot, store, [{parcel, 2.5, [fragile, heavy]}, #{city => <<"Ulm">>, zone => 7}])`, `1`},
		{`erpc:call(N, depot, store, [{parcel, 3, []}, #{city => "Ulm", zone => undefined, colour => red}])`, `2`},
		{`erpc:call(N, depot, store, [{parcel, 101, []}, #{}])`, `{error,{too_heavy,101.0}}`},
		{`erpc:call(N, depot, store, [{parcel, 1, []}, #{}])`, `error:{exception,{go_error,<<"no city">>},[{depot,store,2,[]}]}`},
		{`try erpc:call(N, depot, store, [{letter, 1, []}, x]) catch _:{_, badarg, [Call | _]} -> Call end`,
			`{depot,store,[{letter,1,[]},x],[]}`},
		{`erpc:call(N, depot, first, [])`, `{parcel,2.5,[fragile,heavy]}`},
		{`erpc:call(N, depot, heaviest_of, [1, 2.5, 2])`, `2.5`},
		{`erpc:call(N, depot, heaviest_of, [1, 2, 3])`, `3.0`}, // as small integers, a STRING_EXT
		{`erpc:call(N, depot, heaviest_of, [])`, `0.0`},

		{`gen_server:call({depot, N}, {store, {parcel, 1, []}, #{city => <<"Ulm">>}})`, `3`},
		{`gen_server:call({depot, N}, {store, {parcel, 101, []}, #{}})`, `{error,{too_heavy,101.0}}`},
		{`gen_server:call({depot, N}, {store, {parcel, 1, []}, #{}})`, `{error,<<"no city">>}`},
		{`gen_server:call({depot, N}, first)`, `{parcel,2.5,[fragile,heavy]}`},
		{`gen_server:call({depot, N}, #{city => "Ulm"})`, `<<"in Ulm">>`},
		{`element(1, element(2, gen_server:call({depot, N}, {store, x, y})))`, `badarg`},
		{`gen_server:cast({depot, N}, {note, <<"cast">>}), {depot, N} ! {note, "info"}, gen_server:call({depot, N}, {note, "call"})`, `ok`},
	})
	for _, want := range []string{"cast false", "info false", "call true"} {
		require.Equal(t, want, await(t, d.calls))
	}
}

// Go calls Erlang, and gets Go types.
func typedCalls(t *testing.T, m *meeting) {
	ctx, to := background(t), m.erl.Name()
	load(t, m.erl, "counter")
	m.erl.Do(t, "counter:start(counter)")
	b, err := m.n.NewMailbox(nil)
	require.NoError(t, err)
	for _, caller := range []nodes.Caller{m.n, b} {
		n, err := nodes.RPCAs[int](ctx, caller, to, "erlang", "abs", -5)
		require.NoError(t, err)
		require.Equal(t, 5, n)
		sorted, err := nodes.RPCAs[[]string](ctx, caller, to, "lists", "sort", []any{"b", "a"})
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, sorted)
		p, err := nodes.RPCAs[parcel](ctx, caller, to, "erlang", "list_to_tuple", []any{ei.Atom("parcel"), 1, []any{ei.Atom("x")}})
		require.NoError(t, err)
		require.Equal(t, parcel{Weight: 1, Tags: []ei.Atom{"x"}}, p)
		_, err = nodes.RPCAs[[]byte](ctx, caller, to, "file", "read_file", "/no/such/file") // {error, enoent}
		var reason *ei.ReasonError
		require.ErrorAs(t, err, &reason)
		require.Equal(t, ei.Atom("enoent"), reason.Reason)

		var raise *nodes.Raise
		_, err = nodes.RPCAs[int](ctx, caller, to, "erlang", "abs", ei.Atom("x"))
		require.ErrorAs(t, err, &raise)
		require.Equal(t, nodes.ClassError, raise.Class)
		require.Equal(t, ei.Atom("badarg"), raise.Reason)
		_, err = nodes.RPCAs[int](ctx, caller, to, "erlang", "exit", ei.Tuple{ei.Atom("shutdown"), ei.Int(1)})
		require.ErrorAs(t, err, &raise)
		require.Equal(t, nodes.ClassExit, raise.Class)
		require.Equal(t, ei.Tuple{ei.Atom("shutdown"), ei.Int(1)}, raise.Reason)
		_, err = nodes.RPCAs[int](ctx, caller, to, "erlang", "atom_to_binary", ei.Atom("x"))
		var mismatch *ei.UnmarshalError
		require.ErrorAs(t, err, &mismatch)

		_, err = nodes.CallNameAs[int](ctx, caller, to, "counter", ei.Tuple{ei.Atom("add"), ei.Int(1)}) // {ok, N}
		require.NoError(t, err)
	}
	n, err := nodes.CallNameAs[int](ctx, m.n, to, "counter", ei.Tuple{ei.Atom("add"), ei.Int(40)})
	require.NoError(t, err)
	require.Equal(t, 42, n)
	pair, err := nodes.CallNameAs[ei.Tuple](ctx, m.n, to, "counter", ei.Tuple{ei.Atom("add"), ei.Int(0)})
	require.NoError(t, err)
	require.Equal(t, ei.Tuple{ei.Atom("ok"), ei.Int(42)}, pair)
	_, err = nodes.CallNameAs[int](ctx, m.n, to, "counter", ei.Atom("crash"))
	var end *nodes.ExitError
	require.ErrorAs(t, err, &end)
	_, err = nodes.CallNameAs[int](ctx, m.n, to, "counter", ei.Atom("crash"))
	require.ErrorIs(t, err, nodes.ErrNoProc)

	require.NoError(t, m.n.Register(ctx, "parcels", b))
	m.erl.Do(t, m.about(`[{parcels, N} ! T || T <- [{parcel, 1, []}, nonsense, {parcel, x, []}, {parcel, 2.5, [last]}]]`))
	var got []parcel
	for p, err := range nodes.Messages[parcel](ctx, b) {
		require.NoError(t, err)
		if got = append(got, p); len(p.Tags) > 0 {
			break
		}
	}
	require.Equal(t, []parcel{{Weight: 1, Tags: []ei.Atom{}}, {Weight: 2.5, Tags: []ei.Atom{"last"}}}, got)
}

// shopFuncs exposes functions that a caller may call wrongly, or that find nothing.
func shopFuncs(t *testing.T, n *nodes.Node) {
	type line struct{ Qty int }
	type settings struct {
		_       struct{} `ei:"proplist,unknown=error"`
		Timeout int
	}
	quote := func(l line) int { return l.Qty }
	none := func(any) *string { return nil }
	n.Expose("shop", "quote", nodes.FuncOf(quote))
	n.Expose("shop", "set", nodes.FuncOf(func(s settings) int { return s.Timeout }))
	n.Expose("shop", "find", nodes.FuncOf(func(key string) (int, bool) { return 1, key == "a" }))
	n.Expose("shop", "note", nodes.FuncOf(none))
	n.Expose("shop", "erlang_note", nodes.FuncOf(none, nodes.FuncOptions{Absent: "undefined"}))
	n.Expose("Elixir.Shop", "note", nodes.FuncOf(none))
	n.Expose("shop", "channel", nodes.FuncOf(func() any { return make(chan int) }))
	_, err := n.Serve("shop", nodes.Server{On: map[string]nodes.Func{"note": nodes.FuncOf(none)}}, nil)
	require.NoError(t, err)
	_, err = n.Serve("elixir_shop", nodes.Server{Absent: "nil", On: map[string]nodes.Func{"note": nodes.FuncOf(none)}}, nil)
	require.NoError(t, err)
}

// What OTP prints of an exception says why.
func printsWhy(t *testing.T, m *meeting) {
	shopFuncs(t, m.n)
	for _, tt := range []struct{ call, says string }{
		{`quote, [#{qty => 1.5}]`, "bad argument\n  in function  shop:quote/1\n     called as shop:quote(#{qty => 1.5})\n" +
			"  in call from shop:quote/1 (argument 1: ei: line.qty: float 1.5 where an integer is due"},
		{`quote, [#{qty => <<"größe"/utf8>>}]`, `argument 1: ei: line.qty: binary <<"größe"/utf8>> where an integer is due`},
		{`quot, [1]`, "undefined function shop:quot/1\n  in function  shop:quot/1 (did you mean shop:quote/1?"},
		{`quote, [1, 2]`, "undefined function shop:quote/2\n  in function  shop:quote/2 (did you mean shop:quote/1?"},
		{`set, [[{timout, 1}]]`, `argument 1: ei: settings: atom timout: unknown key`},
		{`channel, []`, "chan int: a Go value of this type is no term"},
		{`channel, []`, "in function  shop:channel/0"},
	} {
		text := `begin try erpc:call(N, shop, ` + tt.call + `) catch error:{exception, R, S} ->
			unicode:characters_to_binary(erl_error:format_exception(error, R, S)) end end`
		require.Contains(t, m.evalText(t, text), tt.says)
		text = `{badrpc, {'EXIT', {R, S}}} = rpc:call(N, shop, ` + tt.call +
			`), unicode:characters_to_binary(erl_error:format_exception(error, R, S))`
		require.Contains(t, m.evalText(t, text), tt.says)
	}
	m.is(t, [][2]string{
		{`erpc:call(N, shop, find, [<<"a">>])`, `{ok,1}`},
		{`erpc:call(N, shop, find, [<<"b">>])`, `error`},
		{`erpc:call(N, shop, set, [[{timeout, 5}]])`, `5`},
		{`erpc:call(N, shop, note, [1])`, `undefined`},
		{`erpc:call(N, 'Elixir.Shop', note, [1])`, `nil`},
		{`rpc:call(N, shop, note, [#{'__struct__' => 'Elixir.Order'}])`, `nil`},
		{`rpc:call(N, shop, erlang_note, [#{'__struct__' => 'Elixir.Order'}])`, `undefined`},
		{`gen_server:call({shop, N}, {note, 1})`, `undefined`},
		{`gen_server:call({shop, N}, {note, #{'__struct__' => 'Elixir.Order'}})`, `nil`},
		{`gen_server:call({elixir_shop, N}, {note, 1})`, `nil`},
	})
}

// evalText evaluates an expression that gives a binary of text.
func (m *meeting) evalText(t *testing.T, expr string) string {
	t.Helper()
	m.erl.Do(t, m.about("persistent_term:put(text, begin "+expr+" end)"))
	text, err := nodes.RPCAs[string](background(t), m.n, m.erl.Name(), "persistent_term", "get", ei.Atom("text"))
	require.NoError(t, err)
	return text
}
