package interop

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/stretchr/testify/require"
)

// We call functions of Erlang.
func callErlang(t *testing.T, m *meeting) {
	ctx := background(t)
	call := func(mod, fun string, args ...any) (ei.Term, error) {
		return m.n.RPC(ctx, m.erl.Name(), mod, fun, args...)
	}
	for _, tt := range []struct {
		mod, fun string
		args     []any
		want     string
	}{
		{"erlang", "node", nil, "'" + m.erl.Name() + "'"},
		{"lists", "seq", []any{1, 5}, "[1,2,3,4,5]"},
		{"erlang", "abs", []any{new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 70))}, "1180591620717411303424"},
		{"maps", "merge", []any{map[string]int{"a": 1}, ei.Map{{Key: ei.Atom("b"), Value: ei.Float(2.5)}}}, `#{b => 2.5,<<"a">> => 1}`},
		{"erlang", "byte_size", []any{make([]byte, 3_000_000)}, "3000000"},
		{"binary", "copy", []any{[]byte("x"), 5}, `<<"xxxxx">>`},
		{"unicode", "characters_to_list", []any{"häß"}, `"häß"`},
		{"erlang", "throw", []any{ei.Atom("thrown")}, "thrown"},
	} {
		got, err := call(tt.mod, tt.fun, tt.args...)
		require.NoError(t, err, tt)
		require.Equal(t, tt.want, got.String())
	}
	for _, tt := range []struct {
		mod, fun string
		args     []any
		want     string
	}{
		{"erlang", "exit", []any{ei.Atom("bye")}, "{'EXIT',bye}"},
		{"erlang", "error", []any{ei.Atom("oops")}, "{'EXIT',{oops,"},
		{"nowhere", "to_be_found", []any{}, "{'EXIT',{undef,[{nowhere,to_be_found,[],[]}"},
	} {
		_, err := call(tt.mod, tt.fun, tt.args...)
		var bad *nodes.RPCError
		require.ErrorAs(t, err, &bad)
		require.Contains(t, bad.Reason.String(), tt.want)
		require.ErrorContains(t, err, "{badrpc,")
		require.ErrorContains(t, err, tt.mod+":"+tt.fun)
		require.ErrorContains(t, err, m.erl.Name())
	}

	// A context ends the wait, and nothing else.
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := m.n.RPC(short, m.erl.Name(), "timer", "sleep", 60_000)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	got, err := call("erlang", "abs", -1)
	require.NoError(t, err)
	require.Equal(t, ei.Int(1), got)

	_, err = m.n.RPC(ctx, "nobody@127.0.0.1", "erlang", "node")
	require.ErrorIs(t, err, nodes.ErrNoConnection)
}

// We call gen_servers of Erlang.
func callGenServer(t *testing.T, m *meeting) {
	ctx := background(t)
	load(t, m.erl, "counter")
	pid := m.pid(t, "counter:start()")
	m.erl.Do(t, "counter:start(counter)")
	for i, want := range []string{"{ok,5}", "{ok,10}"} {
		got, err := m.n.Call(ctx, pid, term(t, "{add,5}"))
		require.NoError(t, err)
		require.Equal(t, want, got.String(), i)
	}
	got, err := m.n.CallName(ctx, m.erl.Name(), "counter", term(t, "{later,#{x => y}}"))
	require.NoError(t, err)
	require.Equal(t, "#{x => y}", got.String())
	got, err = m.n.CallName(ctx, m.erl.Name(), "counter", term(t, "{stop,normal,bye}"))
	require.NoError(t, err)
	require.Equal(t, ei.Atom("bye"), got)
	_, err = m.n.CallName(ctx, m.erl.Name(), "counter", term(t, "{add,1}"))
	require.ErrorIs(t, err, nodes.ErrNoProc)

	// The caller is the mailbox that calls.
	b := m.mailbox(t, "B", nil)
	got, err = b.Call(ctx, pid, term(t, "{from,x}"))
	require.NoError(t, err)
	require.Equal(t, b.Pid(), got.(ei.Tuple)[0])
	m.erl.Do(t, "counter:start(counter)")
	got, err = b.CallName(ctx, m.erl.Name(), "counter", term(t, "{from,x}"))
	require.NoError(t, err)
	require.Equal(t, b.Pid(), got.(ei.Tuple)[0])

	// No answer in time: an answer that comes late does not disturb the next call.
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = m.n.Call(short, pid, ei.Atom("never"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	got, err = m.n.Call(ctx, pid, term(t, "{add,1}"))
	require.NoError(t, err)
	require.Equal(t, "{ok,11}", got.String())

	// The server ends instead of answering.
	for _, tt := range [][2]string{{"crash", "{crashed,[{counter,handle_call,"}, {"{stop,{shutdown,x}}", "{shutdown,x}"}} {
		pid := m.pid(t, "counter:start()")
		_, err = m.n.Call(ctx, pid, term(t, tt[0]))
		var exit *nodes.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, pid, exit.Pid)
		require.Contains(t, exit.Reason.String(), tt[1])
		_, err = m.n.Call(ctx, pid, term(t, "{add,1}"))
		require.ErrorIs(t, err, nodes.ErrNoProc)
	}
}

// What we cast to gen_servers of Erlang comes before what is called later, and nothing answers it.
func castGenServer(t *testing.T, m *meeting) {
	ctx := background(t)
	load(t, m.erl, "counter")
	pid := m.pid(t, "counter:start()")
	m.erl.Do(t, "counter:start(counter)")
	b := m.mailbox(t, "B", nil)
	for i := range 100 {
		require.NoError(t, b.Cast(ctx, pid, ei.T("add", i)))
		require.NoError(t, b.CastName(ctx, m.erl.Name(), "counter", term(t, "{add,2}")))
	}
	got, err := b.Call(ctx, pid, ei.T("add", 0))
	require.NoError(t, err)
	require.Equal(t, "{ok,4950}", got.String())
	got, err = b.CallName(ctx, m.erl.Name(), "counter", ei.T("add", 0))
	require.NoError(t, err)
	require.Equal(t, "{ok,200}", got.String())

	// Erlang's own cast is to us what ours is.
	_, err = m.n.Serve("counter", goServer(m.n), nil)
	require.NoError(t, err)
	require.NoError(t, b.CastName(ctx, m.n.Name(), "counter", 5))
	got, err = b.CallName(ctx, m.n.Name(), "counter", 0)
	require.NoError(t, err)
	m.is(t, [][2]string{{`gen_server:cast({counter, N}, 7), gen_server:call({counter, N}, 0, infinity)`, `12`}})
	require.Equal(t, ei.Int(5), got)

	// Nobody has the name, or the server ends by it.
	require.NoError(t, b.CastName(ctx, m.erl.Name(), "nobody", 1))
	_, err = b.Monitor(ctx, pid)
	require.NoError(t, err)
	require.NoError(t, b.Cast(ctx, pid, ei.Atom("unknown")))
	down, err := b.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, dist.OpMonitorPExit, down.Op)
	require.Contains(t, ei.Brief(down.Reason, 100), "{function_clause,[{counter,handle_cast,[unknown,4950],")
}

// exposed makes Go functions of each kind callable as gofun:Name.
func exposed(n *nodes.Node) {
	raise := func(class nodes.Class) nodes.Func {
		return func(_ context.Context, args []ei.Term) (any, error) {
			return nil, &nodes.Raise{Class: class, Reason: args[0]}
		}
	}
	n.Expose("gofun", "throw", raise(nodes.ClassThrow))
	n.Expose("gofun", "exit", raise(nodes.ClassExit))
	n.Expose("gofun", "error", raise(nodes.ClassError))
	n.Expose("gofun", "fail", func(context.Context, []ei.Term) (any, error) { return nil, errors.New("no luck") })
	n.Expose("gofun", "panic", func(context.Context, []ei.Term) (any, error) { panic("oh dear") })
	n.Expose("gofun", "bad", func(context.Context, []ei.Term) (any, error) { return make(chan int), nil })
	n.Expose("gofun", "args", func(_ context.Context, args []ei.Term) (any, error) { return args, nil })
	n.Expose("gofun", "peer", func(ctx context.Context, _ []ei.Term) (any, error) { return ei.Atom(nodes.ConnOf(ctx).Name()), nil })
	n.Expose("gofun", "wait", func(ctx context.Context, args []ei.Term) (any, error) {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		if err := b.Send(ctx, args[0].(ei.Pid), ei.Tuple{ei.Atom("waiting"), b.Pid()}); err != nil {
			return nil, err
		}
		message, err := b.Receive(ctx)
		if err != nil {
			return nil, err
		}
		return message.Term()
	})
}

// Erlang calls functions of Go: results and exceptions are as those of Erlang functions.
func calledByErlang(t *testing.T, m *meeting) {
	exposed(m.n)
	m.is(t, [][2]string{
		{`erpc:call(N, gofun, args, [1, <<"two">>, "three", [4], 5.0])`, `[1,<<"two">>,"three",[4],5.0]`},
		{`erpc:call(N, gofun, args, [1, 2, 3])`, `[1,2,3]`},
		{`erpc:call(N, gofun, args, [])`, `[]`},
		{`erpc:call(N, gofun, peer, []) =:= node()`, `true`},
		{`erpc:call(N, gofun, throw, [{a, b}])`, `throw:{a,b}`},
		{`erpc:call(N, gofun, exit, [{a, b}])`, `exit:{exception,{a,b}}`},
		{`erpc:call(N, gofun, error, [{a, b}])`, `error:{exception,{a,b},[{gofun,error,1,[]}]}`},
		{`erpc:call(N, gofun, fail, [])`, `error:{exception,{go_error,<<"no luck">>},[{gofun,fail,0,[]}]}`},
		{`erpc:call(N, gofun, panic, [])`, `error:{exception,{go_panic,<<"oh dear">>},[{gofun,panic,0,[]}]}`},
		{`try erpc:call(N, gofun, bad, []) catch error:{exception, {go_error, Text}, [{gofun, bad, 0, []}]} -> is_binary(Text) end`, `true`},
		{`erpc:call(N, gofun, nothing, [1])`, `error:{exception,undef,[{gofun,nothing,[1],[]}]}`},
		{`erpc:call(N, nowhere, nothing, [1])`, `error:{exception,undef,[{nowhere,nothing,[1],[]}]}`},
		{`erpc:call(N, fun gofun:args/0)`, `[]`},
		{`erpc:call(N, erlang, apply, [fun gofun:args/1, [1]])`, `[1]`},
		{`erpc:call(N, erlang, apply, [gofun, args, [1]])`, `[1]`},
		{`erpc:call(N, fun gofun:nothing/0)`, `error:{exception,undef,[{gofun,nothing,[],[]}]}`},
		{`try erpc:call(N, fun() -> 1 end) catch error:{exception, undef, [{F, [], []}]} -> is_function(F) end`, `true`},
		{`P = spawn(N, fun gofun:peer/0), R = monitor(process, P), receive {'DOWN', R, _, P, Why} -> lists:member(Why, [normal, noproc]) end`,
			`true`},
		{`rpc:call(N, erlang, apply, [fun gofun:args/2, [1, 2]])`, `[1,2]`},
		{`rpc:call(N, gofun, throw, [{a, b}])`, `{a,b}`},
		{`rpc:call(N, gofun, exit, [{a, b}])`, `{badrpc,{'EXIT',{a,b}}}`},
		{`rpc:call(N, gofun, error, [{a, b}])`, `{badrpc,{'EXIT',{{a,b},[{gofun,error,1,[]}]}}}`},
		{`rpc:block_call(N, gofun, throw, [{a, b}])`, `{a,b}`},
		{`rpc:block_call(N, gofun, exit, [{a, b}])`, `{badrpc,{'EXIT',{a,b}}}`},
		{`rpc:block_call(N, gofun, error, [{a, b}])`, `{badrpc,{'EXIT',{{a,b},[{gofun,error,1,[]}]}}}`},
		{`erpc:multicall([N, N], gofun, exit, [x])`, `[{exit,{exception,x}},{exit,{exception,x}}]`},

		// Time runs out; what is called goes on, until it is stopped.
		{`erpc:call(N, gofun, wait, [self()], 50)`, `error:{erpc,timeout}`},
		{`rpc:call(N, gofun, wait, [self()], 50)`, `{badrpc,timeout}`},
		{`[receive {waiting, P} -> P ! go_on end || _ <- [1, 2]], receive X -> X after 0 -> nothing end`, `nothing`},
		{`S = self(), {_, R} = spawn_monitor(fun() -> exit(rpc:call(N, gofun, wait, [S])) end),
			receive {waiting, P} -> P ! <<"answer">> end, receive {'DOWN', R, _, _, Why} -> Why end`, `<<"answer">>`},

		// As processes: a parent that ends takes a linked function with it, and so does an exit
		// signal.
		{`P = spawn(N, gofun, wait, [self()]), R = monitor(process, P), receive {waiting, _} -> exit(P, enough) end,
			receive {'DOWN', R, _, P, Why} -> Why end`, `enough`},
		{`P = spawn(N, gofun, wait, [self()]), R = monitor(process, P), receive {waiting, _} -> exit(P, kill) end,
			receive {'DOWN', R, _, P, Why} -> Why end`, `killed`},
		{`P = spawn(N, gofun, wait, [self()]), R = monitor(process, P), receive {waiting, Q} -> Q ! done end,
			receive {'DOWN', R, _, P, Why} -> Why end`, `normal`},
		{`{P, R} = spawn_monitor(N, gofun, exit, [{a, b}]), receive {'DOWN', R, _, P, Why} -> Why end`, `{a,b}`},
		{`{P, R} = spawn_monitor(N, gofun, throw, [{a, b}]), receive {'DOWN', R, _, P, Why} -> Why end`,
			`{{nocatch,{a,b}},[{gofun,throw,1,[]}]}`},
		{`{P, R} = spawn_monitor(N, gofun, error, [{a, b}]), receive {'DOWN', R, _, P, Why} -> Why end`, `{{a,b},[{gofun,error,1,[]}]}`},
		{`S = self(), {_, R} = spawn_monitor(fun() -> P = spawn_link(N, gofun, wait, [S]), S ! {child, P}, receive stop -> exit(over) end end),
			P = receive {child, C} -> C end, receive {waiting, _} -> ok end, D = monitor(process, P),
			[Parent] = [X || X <- processes(), {links, L} <- [process_info(X, links)], lists:member(P, L)], Parent ! stop,
			[receive {'DOWN', R, _, _, W} -> W end, receive {'DOWN', D, _, P, V} -> V end]`, `[over,over]`},
		{`(fun F() -> receive X -> [X | F()] after 0 -> [] end end)()`, `[]`},
	})
}
