package nodes

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

var bad = ei.Tuple{ei.Atom("bad"), ei.Int(1)}

// exposeAll exposes functions that end in every possible way.
func exposeAll(n *Node) {
	for name, fn := range map[string]Func{
		"echo":  func(_ context.Context, args []ei.Term) (any, error) { return args, nil },
		"none":  func(context.Context, []ei.Term) (any, error) { return nil, nil },
		"error": func(context.Context, []ei.Term) (any, error) { return nil, errors.New("it went wrong") },
		"badarg": func(context.Context, []ei.Term) (any, error) {
			return nil, &Raise{Class: ClassError, Reason: bad, Stack: ei.List{ei.Atom("here")}}
		},
		"raise":  func(context.Context, []ei.Term) (any, error) { return nil, &Raise{Reason: bad} },
		"class":  func(context.Context, []ei.Term) (any, error) { return nil, &Raise{Class: "foo", Reason: bad} },
		"reason": func(context.Context, []ei.Term) (any, error) { return nil, &Raise{Class: ClassExit} },
		"stack": func(context.Context, []ei.Term) (any, error) {
			return nil, &Raise{Class: ClassThrow, Reason: bad, Stack: ei.Local("x")}
		},
		"exit":   func(context.Context, []ei.Term) (any, error) { return nil, &Raise{Class: ClassExit, Reason: bad} },
		"throw":  func(context.Context, []ei.Term) (any, error) { return nil, &Raise{Class: ClassThrow, Reason: bad} },
		"panic":  func(context.Context, []ei.Term) (any, error) { panic("a bug") },
		"goexit": func(context.Context, []ei.Term) (any, error) { runtime.Goexit(); return nil, nil },
		"conn": func(ctx context.Context, _ []ei.Term) (any, error) {
			if c := ConnOf(ctx); c != nil {
				return ei.Atom(c.Name()), nil
			}
			return ei.Atom("local"), nil
		},
	} {
		n.Expose("m", name, fn)
	}
}

// stackOf is the stack of a function without arguments.
func stackOf(name ei.Atom) ei.Term {
	return ei.List{ei.Tuple{ei.Atom("m"), name, ei.Int(0), ei.List{}}}
}

func TestRPC(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		exposeAll(there)
		goError := func(text string) ei.Term { return ei.Tuple{ei.Atom("go_error"), ei.Binary(text)} }
		exit := func(reason ei.Term) ei.Term { return ei.Tuple{ei.Atom("EXIT"), reason} }
		for _, tt := range []struct {
			function string
			args     []any
			want     ei.Term
			badrpc   ei.Term
		}{
			{"echo", []any{1, "two", []any{3.5}}, ei.List{ei.Int(1), ei.Binary("two"), ei.List{ei.Float(3.5)}}, nil},
			{"echo", nil, ei.List{}, nil},
			{"echo", []any{ei.String("abc")}, ei.List{ei.String("abc")}, nil},
			{"throw", nil, bad, nil},
			{"exit", nil, nil, exit(bad)},
			{"error", nil, nil, exit(ei.Tuple{goError("it went wrong"), stackOf("error")})},
			{"raise", nil, nil, exit(ei.Tuple{bad, stackOf("raise")})},
			{"class", nil, nil, exit(ei.Tuple{goError(`foo: {bad,1}: no class of exceptions: "foo"`), stackOf("class")})},
			{"reason", nil, nil, exit(ei.Tuple{goError("exit: <nil>: an exception without a reason"), stackOf("reason")})},
			{"stack", nil, nil, exit(ei.Tuple{goError("throw: {bad,1}: " + ei.ErrLocal.Error() + " (at /1)"), stackOf("stack")})},
			{"badarg", nil, nil, exit(ei.Tuple{bad, ei.List{ei.Atom("here")}})},
			{"panic", nil, nil, exit(ei.Tuple{ei.Tuple{ei.Atom("go_panic"), ei.Binary("a bug")}, stackOf("panic")})},
			{"missing", []any{1}, nil, exit(ei.Tuple{ei.Atom("undef"), ei.List{
				ei.Tuple{ei.Atom("m"), ei.Atom("missing"), ei.List{ei.Int(1)}, ei.List{}}}})},
			{"none", nil, nil, exit(ei.Tuple{goError("result of m:none: ei: value of type <nil> cannot be encoded"), stackOf("none")})},
		} {
			got, err := here.RPC(w.ctx(), there.Name(), "m", tt.function, tt.args...)
			if tt.badrpc == nil {
				require.NoError(t, err, tt.function)
				require.Equal(t, tt.want, got, tt.function)
				continue
			}
			var e *RPCError
			require.ErrorAs(t, err, &e, tt.function)
			if tt.function != "none" { // the text of this error comes from another package
				require.Equal(t, tt.badrpc.String(), e.Reason.String(), tt.function)
			}
		}
		want := ei.Atom("local")
		if here != there {
			want = ei.Atom(here.Name())
		}
		got := of(here.RPC(w.ctx(), there.Name(), "m", "conn")).must(t)
		require.Equal(t, want, got)

		there.Expose("m", "echo", func(context.Context, []ei.Term) (any, error) { return "new", nil })
		got = of(here.RPC(w.ctx(), there.Name(), "m", "echo")).must(t)
		require.Equal(t, ei.Binary("new"), got, "the last one counts")

		_, err := here.RPC(w.ctx(), "nobody@test", "m", "f")
		require.ErrorIs(t, err, ErrNoConnection)
		_, err = here.RPC(w.ctx(), there.Name(), "m", "f", make(chan int))
		require.Error(t, err)
	})
}

// request is a SPAWN_REQUEST as erpc sends it.
func (p *wire) request(id uint32, module, function string, options ei.Term, args ...ei.Term) ei.Ref {
	p.T.Helper()
	ref := ei.Ref{Node: p.Self.Node, Creation: p.Self.Creation, Len: 3, ID: [5]uint32{id, 2, 3}}
	raw := encode(p.T, options)
	p.Send(dist.Control{
		Op: dist.OpSpawnRequest, Ref: ref, From: p.Self, GroupLeader: p.Self,
		Module: ei.Atom(module), Function: ei.Atom(function), Arity: uint8(len(args)), Options: raw,
	}, ei.List(args))
	return ref
}

// down reads the next message, which must be the end of a monitor.
func (p *wire) down(ref ei.Ref) ei.Term {
	p.T.Helper()
	ctl, why := p.Next()
	require.Equal(p.T, dist.OpPayloadMonitorPExit, ctl.Op)
	require.Equal(p.T, ref, ctl.Ref)
	return why
}

func TestSpawn(t *testing.T) {
	w := newWorld(t, "memory")
	n, p := w.met("alice")
	exposeAll(n)
	started, cancelled := make(chan ei.Term, 10), make(chan struct{}, 10)
	n.Expose("m", "wait", func(ctx context.Context, args []ei.Term) (any, error) {
		started <- ei.List(args)
		<-ctx.Done()
		cancelled <- struct{}{}
		return nil, ctx.Err()
	})
	reply := func(ref ei.Ref, flags uint64) ei.Pid {
		ctl, _ := p.Next()
		require.Equal(t, dist.OpSpawnReply, ctl.Op)
		require.Equal(t, ref, ctl.Ref)
		require.Equal(t, p.Self, ctl.To)
		require.Equal(t, flags, ctl.Flags, ctl.Result)
		result := decode(t, ctl.Result)
		require.IsType(t, ei.Pid{}, result)
		return result.(ei.Pid)
	}
	monitor, link := ei.Atom("monitor"), ei.Atom("link")

	ref := p.request(1, "m", "echo", ei.List{monitor}, ei.Int(1))
	reply(ref, dist.SpawnMonitored)
	require.Equal(t, ei.Atom("normal"), p.down(ref))
	ref = p.request(2, "m", "exit", ei.List{ei.Tuple{monitor, ei.List{}}, ei.Tuple{ei.Atom("reply"), ei.Atom("no")},
		ei.Tuple{ei.Atom("priority"), ei.Atom("low")}})
	require.Equal(t, bad, p.down(ref))
	for function, why := range map[string]string{
		"throw": "{{nocatch,{bad,1}},[{m,throw,0,[]}]}", "badarg": "{{bad,1},[here]}", "missing": "{undef,[{m,missing,[],[]}]}",
	} {
		ref = p.request(3, "m", function, ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("error_only")}, monitor})
		require.Equal(t, why, p.down(ref).String())
	}

	// An exit signal ends the function's context, and the process at once.
	ref = p.request(4, "m", "wait", ei.List{monitor, link}, ei.Atom("x"))
	pid := reply(ref, dist.SpawnMonitored|dist.SpawnLinked)
	require.Equal(t, ei.List{ei.Atom("x")}, arrives(t, started, "the function"))
	for range 3 { // the peer's share of memory pays for what is not received
		p.Send(dist.Control{Op: dist.OpSend, To: pid}, ei.Binary(make([]byte, 1<<16)))
	}
	require.Eventually(t, func() bool { return n.Stats().Overflow > 3<<16 }, tooLong, tick)
	p.Send(dist.Control{Op: dist.OpPayloadExit2, From: p.Self, To: pid}, ei.Atom("kill"))
	ops := map[dist.Op]ei.Term{}
	for range 2 {
		ctl, why := p.Next()
		ops[ctl.Op] = why
	}
	require.Equal(t, map[dist.Op]ei.Term{dist.OpPayloadExit: ei.Atom("killed"), dist.OpPayloadMonitorPExit: ei.Atom("killed")}, ops)
	arrives(t, cancelled, "the end of its context")
	require.Zero(t, n.Stats().Overflow)

	// So does the end of the parent's node, through the link; and that of our own.
	p.request(5, "m", "wait", ei.List{link, ei.Tuple{ei.Atom("reply"), ei.Atom("no")}})
	arrives(t, started, "the function")
	p.Close()
	arrives(t, cancelled, "the end of its context")
	p = w.peer(n.Listeners()[0], role("wire@test"))
	p.request(6, "m", "wait", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}})
	arrives(t, started, "the function")

	// Requests that make no sense are refused.
	refused := func(why ei.Atom) {
		t.Helper()
		ctl, _ := p.Next()
		require.Equal(t, dist.OpSpawnReply, ctl.Op)
		require.Zero(t, ctl.Flags)
		require.Equal(t, why, decode(t, ctl.Result))
	}
	for _, option := range []ei.Term{ei.Int(1), ei.Tuple{}, ei.Atom("what"), ei.Tuple{ei.Atom("what"), ei.Map{}}, ei.List{}, ei.Map{}} {
		p.request(7, "m", "echo", ei.List{monitor, option})
		refused("badopt")
	}
	send := func(options ei.Term, payload ei.Raw) {
		raw := encode(t, options)
		b, err := protocol.AppendFrame(nil, &dist.Control{Op: dist.OpSpawnRequest, Ref: ref, From: p.Self, GroupLeader: p.Self,
			Module: "m", Function: "echo", Arity: 0, Options: raw}, payload)
		require.NoError(t, err)
		require.NoError(t, p.Write(b))
	}
	send(monitor, ei.AppendNil(nil))
	refused("badopt")
	send(ei.ImproperList{Elems: []ei.Term{monitor}, Tail: link}, ei.AppendNil(nil))
	refused("badopt")
	send(ei.List{monitor}, ei.Raw{255})
	refused("badarg")

	// Faults that only decoding can show become visible when the process runs.
	// a map with equal keys
	send(ei.List{monitor}, ei.Raw{108, 0, 0, 0, 1, 116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2, 106})
	reply(ref, dist.SpawnMonitored)
	require.Equal(t, ei.Atom("badarg"), p.down(ref))

	// Only the function counts its arguments; if they are not a list, the process ends.
	for payload, why := range map[ei.Term]string{ei.String("12"): "normal", ei.Int(1): "{badarg,[{erlang,apply,[m,echo,1],[]}]}"} {
		raw := encode(t, payload)
		send(ei.List{monitor}, raw)
		reply(ref, dist.SpawnMonitored)
		require.Equal(t, why, p.down(ref).String())
	}
	res := monitorRef(p, 9)
	ref = p.request(9, "erpc", "execute_call", ei.List{monitor}, res, ei.Atom("m"), ei.Atom("echo"), ei.Atom("no_list"))
	reply(ref, dist.SpawnMonitored)
	require.Equal(t, "{"+res.String()+",error,badarg,[{erlang,apply,[m,echo,no_list],[]}]}", p.down(ref).String())
	require.NoError(t, n.Conn("wire@test").Err())
	require.NoError(t, n.Close())
	arrives(t, cancelled, "the end of its context")
}

// erpc:cast and rpc:cast send nothing to the caller.
func TestCastsAreNotAnswered(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	ran := make(chan ei.Term, 10)
	n.Expose("m", "run", func(_ context.Context, args []ei.Term) (any, error) { ran <- args[0]; return nil, nil })
	p.request(1, "erpc", "execute_cast", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}}, ei.Atom("m"), ei.Atom("run"),
		ei.List{ei.Int(1000)})
	require.Equal(t, ei.Int(1000), arrives(t, ran, "the cast"))
	p.Say("rex", ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple{ei.Atom("cast"), ei.Atom("m"), ei.Atom("run"), ei.List{ei.Int(2000)}, p.Self}})
	require.Equal(t, ei.Int(2000), arrives(t, ran, "the cast"))

	// What comes first is the answer to a call.
	p.Say("rex", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, monitorRef(p, 1)}, ei.Atom("what")})
	_, reply := p.Next()
	require.Equal(t, ei.Tuple{monitorRef(p, 1), otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Atom("badarg")})}, reply)
}

// A process that is killed before its turn does not run, and its monitor fires at once.
func TestSpawnKilledBeforeItsTurn(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice", func(cfg *Config) { cfg.MaxCalls = 1 })
	running, release := make(chan ei.Term, 10), make(chan struct{})
	n.Expose("m", "wait", func(_ context.Context, args []ei.Term) (any, error) { running <- args[0]; <-release; return 1, nil })
	p.request(1, "m", "wait", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}}, ei.Int(1))
	require.Equal(t, ei.Int(1), arrives(t, running, "the first"))
	ref := p.request(2, "m", "wait", ei.List{ei.Atom("monitor")}, ei.Int(2))
	ctl, _ := p.Next()
	require.Equal(t, dist.OpSpawnReply, ctl.Op)
	p.Send(dist.Control{Op: dist.OpPayloadExit2, From: p.Self, To: decode(t, ctl.Result).(ei.Pid)}, ei.Atom("kill"))
	require.Equal(t, ei.Atom("killed"), p.down(ref))
	third := p.request(3, "m", "wait", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}, ei.Atom("monitor")}, ei.Int(3))
	close(release)
	require.Equal(t, ei.Int(3), arrives(t, running, "the third"))
	require.Equal(t, ei.Atom("normal"), p.down(third))
}

// A call that waits for a place takes no more memory than it did on the wire: it is decoded when it
// runs.
func TestWaitingCallsAreNotDecoded(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice", func(cfg *Config) { cfg.MaxCalls = 2 })
	running, release := make(chan struct{}, 10), make(chan struct{})
	n.Expose("m", "wait", func(context.Context, []ei.Term) (any, error) {
		running <- struct{}{}
		<-release
		return nil, nil
	})
	quiet := ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}}
	p.request(0, "m", "wait", quiet)
	arrives(t, running, "the first call")
	large := make(ei.List, 1<<20)
	for i := range large {
		large[i] = ei.Tuple{}
	}
	args := of(ei.AppendTerm(nil, ei.List{large})).must(t) // 2 MB; decoded 16 for the list alone
	large = nil
	before := held()
	p.Send(dist.Control{
		Op: dist.OpSpawnRequest, Ref: ei.Ref{Node: p.Self.Node, Creation: 4, Len: 3}, From: p.Self, GroupLeader: p.Self,
		Module: "m", Function: "wait", Arity: 1, Options: ei.Raw{106},
	}, ei.Raw(args))
	p.request(2, "m", "wait", quiet) // comes behind the first one
	require.Eventually(t, func() bool { return n.Stats().Mailboxes == 5 }, tooLong, tick, "net_kernel, rex, and three processes")
	require.Less(t, held()-before, 3*len(args))
	close(release)
	arrives(t, running, "the second call")
}

// held is how many bytes of memory are in use.
func held() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The link and the monitor that a SPAWN_REQUEST has asked for begin with the SPAWN_REPLY, also if
// the program has sent the request itself: how the new process ends is heard, and it hears of the
// end of its parent.
func TestSpawnReply(t *testing.T) {
	a, p := newWorld(t, "memory").met("alice")
	crash := exitReason(ei.Atom("crash"))
	child := ei.Pid{Node: "wire@test", ID: 1, Creation: 77}
	b := trapping(t, a)
	spawned := func() ei.Ref {
		t.Helper()
		ref := of(a.NewRef()).must(t)
		p.Send(dist.Control{
			Op: dist.OpSpawnReply, Ref: ref, To: b.Pid(), Flags: dist.SpawnLinked | dist.SpawnMonitored, Result: exitReason(child),
		}, nil)
		return ref
	}
	signals := func(why ei.Atom, ref ei.Ref) {
		t.Helper()
		for range 2 {
			ctl, payload := p.nextSignal()
			require.Equal(t, child, ctl.To)
			if ctl.Op == dist.OpDemonitorP {
				require.Equal(t, ref, ctl.Ref)
			} else {
				require.Equal(t, dist.OpPayloadExit, ctl.Op)
				require.Equal(t, why, payload)
			}
		}
	}
	ref := spawned()
	require.Equal(t, dist.OpSpawnReply, receive(t, b).Op)
	p.Send(dist.Control{Op: dist.OpExit, From: child, To: b.Pid(), Reason: crash}, nil)
	p.Send(dist.Control{Op: dist.OpMonitorPExit, From: child, To: b.Pid(), Ref: ref, Reason: crash}, nil)
	for _, op := range []dist.Op{dist.OpExit, dist.OpMonitorPExit} {
		m, why := reason(t, b, op)
		require.Equal(t, child, m.From)
		require.Equal(t, ei.Atom("crash"), why)
	}
	require.Empty(t, linksOf(b))
	require.Empty(t, watchingOf(b))

	ref = spawned()
	require.Equal(t, dist.OpSpawnReply, receive(t, b).Op)
	b.Exit(ei.Atom("done"))
	signals("done", ref)
	signals("noproc", spawned()) // too late
}

// withTerm is an error like an *elixir.Exception.
type withTerm struct{ term ei.Term }

func (withTerm) Error() string   { return "a term" }
func (e withTerm) Term() ei.Term { return e.term }

func TestErrorWithTerm(t *testing.T) {
	for _, tt := range []struct {
		err    error
		reason ei.Term
	}{
		{fmt.Errorf("store: %w", withTerm{bad}), bad},
		{withTerm{}, ei.Tuple{ei.Atom("go_error"), ei.Binary("a term: an exception without a reason")}},
		{fmt.Errorf("%w, %w", withTerm{bad}, &Raise{Reason: ei.Atom("first")}), ei.Atom("first")},
		{&ei.ReasonError{Reason: bad}, bad},
	} {
		r := raised(tt.err)
		require.Equal(t, tt.reason, r.Reason)
		require.Equal(t, ClassError, r.Class)
	}
}
