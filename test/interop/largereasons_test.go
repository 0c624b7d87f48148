package interop

import (
	"context"
	"fmt"
	"hash/crc32"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// callSize is how large arguments, results and replies are, and reasonSize reasons; in bytes.
func callSize() int   { return usualSize(20 << 20) }
func reasonSize() int { return usualSize(5 << 20) }

// usualSize is size, or what the usual carriage takes in its place.
func usualSize(size int) int {
	if usual.fault != "" {
		return 300_000
	}
	return size
}

// goods are a large binary and a long list of tuples with many atoms: what a payload can be.
func goods(size int) [2]ei.Term {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * i >> 7)
	}
	all := make(ei.List, size/1000)
	for i := range all {
		all[i] = ei.Tuple{ei.Atom(many[i%len(many)]), ei.Int(i), ei.Atom(many[(i*7+1)%len(many)]), ei.Binary(b[i : i+20])}
	}
	return [2]ei.Term{ei.Binary(b), all}
}

// Arguments and results of calls, replies, and arguments of a new process may be large, both ways
// and several at once.
func greatCalls(t *testing.T, m *meeting) {
	load(t, m.erl, "counter")
	load(t, m.erl, "large")
	exposed(m.n)
	m.n.Expose("gofun", "tell", func(ctx context.Context, args []ei.Term) (any, error) { // [Term, Pid, …]
		raw, err := ei.AppendTerm(nil, args[0])
		if err != nil {
			return nil, err
		}
		told := ei.Tuple{ei.Atom("told"), ei.Int(crc32.ChecksumIEEE(raw))}
		return nil, nodes.ConnOf(ctx).Send(ctx, args[1].(ei.Pid), told)
	})
	reply := func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }
	_, err := m.n.Serve("great", nodes.Server{Call: reply}, nil)
	require.NoError(t, err)
	counter := m.pid(t, "counter:start()")
	for i, x := range goods(callSize()) {
		ctx := background(t)
		m.tell(t, "X", x)
		raw, err := ei.AppendTerm(nil, x)
		require.NoError(t, err)
		m.is(t, [][2]string{
			{`[X] =:= erpc:call(N, gofun, args, [X])`, `true`},
			{`[a, X] =:= rpc:call(N, gofun, args, [a, X])`, `true`},
			{`{badrpc, {'EXIT', X}} =:= rpc:call(N, gofun, exit, [X])`, `true`},
			{`try erpc:call(N, gofun, throw, [X]) catch throw:Y -> Y =:= X end`, `true`},
			{`X =:= gen_server:call({great, N}, X, 300000)`, `true`},
			{`{reply, X} =:= gen_server:wait_response(gen_server:send_request({great, N}, X), 300000)`, `true`},
			// a new process is told them, and one is told of its end
			{`spawn(N, gofun, tell, [X, self()]), receive {told, C} -> C after 300000 -> none end`, fmt.Sprint(crc32.ChecksumIEEE(raw))},
			{`{P, R} = spawn_monitor(N, gofun, exit, [X]), receive {'DOWN', R, process, P, Y} -> Y =:= X after 300000 -> none end`, `true`},
			{`process_flag(trap_exit, true), P = spawn_link(N, gofun, exit, [X]),
				receive {'EXIT', P, Y} -> process_flag(trap_exit, false), Y =:= X after 300000 -> none end`, `true`},
		})

		got, err := m.n.RPC(ctx, m.erl.Name(), "lists", "reverse", ei.List{ei.Atom("a"), x})
		require.NoError(t, err)
		require.True(t, ei.Identical(got, ei.List{x, ei.Atom("a")}))
		_, err = m.n.RPC(ctx, m.erl.Name(), "erlang", "exit", x)
		var bad *nodes.RPCError
		require.ErrorAs(t, err, &bad)
		require.True(t, ei.Identical(bad.Reason, ei.Tuple{ei.Atom("EXIT"), x}))
		got, err = m.n.Call(ctx, counter, ei.Tuple{ei.Atom("later"), x})
		require.NoError(t, err)
		require.True(t, ei.Identical(got, x))

		var wg sync.WaitGroup
		several := m.erl.Async(t, m.about(`Call = fun(I) -> exit(rpc:call(N, gofun, args, [X, I]) =:= [X, I]) end,
			Refs = [element(2, spawn_monitor(fun() -> Call(I) end)) || I <- lists:seq(1, 2)],
			lists:usort([receive {'DOWN', R, process, _, Y} -> Y after 300000 -> none end || R <- Refs])`))
		for k := range 2 {
			wg.Go(func() {
				got, err := m.n.RPC(ctx, m.erl.Name(), "erlang", "list_to_tuple", ei.List{x, ei.Int(k)})
				if err != nil || !ei.Identical(got, ei.Tuple{x, ei.Int(k)}) {
					t.Errorf("call %d of kind %d: %v, %v", k, i, ei.Brief(got, 100), err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, "[true]", several())
	}
}

// Reasons of exit signals and of the ends of monitored processes may be large, both ways.
func greatReasons(t *testing.T, m *meeting) {
	ctx := background(t)
	load(t, m.erl, "large")
	there := m.pid(t, "large:watches()")
	m.tell(t, "There", there)
	for _, x := range goods(reasonSize()) {
		m.tell(t, "X", x)

		// A process there that a mailbox is linked with, and one that it monitors, dies of it.
		here := m.mailbox(t, "Here", &nodes.MailboxOptions{TrapExit: true})
		dies := m.pid(t, "large:dies()")
		m.tell(t, "Dies", dies)
		require.NoError(t, here.Link(ctx, dies))
		ref, err := here.Monitor(ctx, dies)
		require.NoError(t, err)
		plain := m.mailbox(t, "Plain", nil)
		require.NoError(t, plain.Link(ctx, dies))
		m.is(t, [][2]string{{`large:until(fun() -> {_, L} = process_info(Dies, links), {_, By} = process_info(Dies, monitored_by),
			length(L) =:= 2 andalso length(By) =:= 1 end), Dies ! X, ok`, `ok`}})
		for range 2 {
			message, err := here.Receive(ctx)
			require.NoError(t, err)
			require.Equal(t, dies, message.From)
			if message.Op != dist.OpExit {
				require.Equal(t, dist.OpMonitorPExit, message.Op)
				require.Equal(t, ref, message.Ref)
			}
			same(t, x, message.Reason)
		}
		await(t, plain.Done())
		var e *nodes.ExitError
		require.ErrorAs(t, plain.Err(), &e)
		require.True(t, ei.Identical(x, e.Reason))

		// An exit signal by exit/2, each way.
		m.eval(t, `exit(Here, X), ok`)
		message, err := here.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, dist.OpExit, message.Op.Base())
		same(t, x, message.Reason)
		require.NoError(t, here.SendExit(ctx, there, x))
		m.is(t, [][2]string{{`There ! {ask, self(), 1}, receive {seen, S} -> S =:= [{exit, X}] after 300000 -> none end`, `true`}})

		// A mailbox that a process there is linked with, and monitors, dies of it.
		m.is(t, [][2]string{{`There ! {link, Here}, There ! {monitor, Here}, net_adm:ping(N)`, `pong`}})
		m.eval(t, `large:until(fun() -> {_, L} = process_info(There, links), {_, Ms} = process_info(There, monitors),
			length(L) =:= 1 andalso length(Ms) =:= 1 end)`)
		// both are here before what comes behind them
		m.eval(t, `There ! {send, Here, behind}`)
		message, err = here.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, dist.OpSend, message.Op)
		here.Exit(x)
		m.is(t, [][2]string{{`There ! {ask, self(), 2},
			receive {seen, S} -> lists:sort(S) =:= [{down, X}, {exit, X}] after 300000 -> none end`, `true`}})
	}
}

// same compares a reason that has come.
func same(t *testing.T, want ei.Term, raw ei.Raw) {
	t.Helper()
	got, err := raw.Decode()
	require.NoError(t, err)
	require.True(t, ei.Identical(want, got), "%v came", ei.Brief(got, 100))
}
