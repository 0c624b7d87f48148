package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/transport"
)

// What a function does, and what erpc:call raises for it.
func TestERPC(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		exposeAll(there)
		goPanic := ei.Tuple{ei.Atom("go_panic"), ei.Binary("a bug")}
		for _, tt := range []struct {
			function string
			args     []any
			want     string // the result, or class and reason
			raise    *Raise
		}{
			{"echo", []any{1, "two", []any{3.5}}, `[1,<<"two">>,[3.5]]`, nil},
			{"echo", nil, `[]`, nil},
			{"throw", nil, `throw: {bad,1}`, &Raise{Class: ClassThrow, Reason: bad}},
			{"exit", nil, `exit: {exception,{bad,1}}`, &Raise{Class: ClassExit, Reason: bad}},
			{"badarg", nil, `error: {exception,{bad,1},[here]}`, &Raise{ClassError, bad, ei.List{ei.Atom("here")}}},
			{"panic", nil, `error: {exception,{go_panic,<<"a bug">>},[{m,panic,0,[]}]}`, &Raise{ClassError, goPanic, stackOf("panic")}},
			{"missing", []any{1}, `error: {exception,undef,[{m,missing,[1],[]}]}`,
				&Raise{ClassError, ei.Atom("undef"), parse(t, `[{m, missing, [1], []}]`).(ei.List)}},
			{"goexit", nil, `exit: {signal,killed}`, nil},
		} {
			for name, caller := range map[string]Caller{"node": here, "mailbox": box(t, here)} {
				got, err := ERPCAs[ei.Term](w.ctx(), caller, there.Name(), "m", tt.function, tt.args...)
				if e := new(ERPCError); errors.As(err, &e) {
					require.Equal(t, tt.want, e.Error(), name)
					require.ErrorContains(t, err, fmt.Sprintf("call m:%s/%d at %s: ", tt.function, len(tt.args), there.Name()))
				} else {
					require.NoError(t, err, tt.function)
					require.Equal(t, tt.want, got.String(), name)
				}
				raise := new(Raise)
				require.Equal(t, tt.raise != nil, errors.As(err, &raise), tt.function)
				if tt.raise != nil {
					require.Equal(t, tt.raise.Class, raise.Class)
					require.Equal(t, tt.raise.Reason, raise.Reason)
					if tt.raise.Stack != nil {
						require.Equal(t, tt.raise.Stack.String(), raise.Stack.String())
					}
				}
				if tt.function == "goexit" {
					end := new(ExitError)
					require.ErrorAs(t, err, &end)
					require.Equal(t, ei.Atom("killed"), end.Reason)
				}
			}
		}
		require.Equal(t, []int{1, 2}, of(ERPCAs[[]int](w.ctx(), here, there.Name(), "m", "echo", 1, 2)).must(t))
		_, err := here.ERPC(w.ctx(), there.Name(), "m", "echo", make(chan int))
		require.ErrorContains(t, err, "is no term")
		_, err = here.ERPC(w.ctx(), "nobody@test", "m", "echo")
		require.ErrorIs(t, err, ErrNoConnection)
		over, cancel := context.WithCancel(w.ctx())
		cancel()
		_, err = here.ERPC(over, there.Name(), "m", "echo")
		require.ErrorIs(t, err, context.Canceled)
		_, err = here.ERPC(transport.NoWait(), there.Name(), "m", "echo")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = here.ERPC(NoConnect(w.ctx()), "nobody@test", "m", "echo")
		require.ErrorIs(t, err, ErrNoConnection)
		nothingLeft(t, here, there)
	})
}

// hasAliases tells whether a process has an alias, other than that of a call.
func (p *processes) hasAliases() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for ref := range p.aliases.All() {
		if !ids.IsCall(ref) {
			return true
		}
	}
	return false
}

// nothingLeft waits until nothing is left of calls: no mailbox, monitor or alias.
func nothingLeft(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		require.Eventually(t, func() bool {
			for _, b := range n.procs.all() {
				b.mu.Lock()
				busy := b.origin.private || b.origin.spawned != nil || b.pendingCalls.Len() > 0 || !b.bonds.None()
				b.mu.Unlock()
				if busy {
					return false
				}
			}
			return !n.procs.hasAliases()
		}, tooLong, tick, "%s: %v", n.Name(), n.Stats())
	}
}

// A caller that gives up leaves nothing behind, and the function's context ends; the next call is
// not disturbed by what comes late.
func TestERPCGivenUp(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		began, ended := make(chan struct{}, 4), make(chan struct{}, 4)
		there.Expose("m", "wait", func(ctx context.Context, _ []ei.Term) (any, error) {
			began <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return "late", nil
		})
		there.Expose("m", "one", func(context.Context, []ei.Term) (any, error) { return 1, nil })
		for _, caller := range []Caller{here, box(t, here)} {
			ctx, cancel := context.WithCancel(w.ctx())
			called := async(func() (ei.Term, error) { return ERPCAs[ei.Term](ctx, caller, there.Name(), "m", "wait") })
			arrives(t, began, "the function")
			cancel()
			require.ErrorIs(t, arrives(t, called, "the end of the call").err, context.Canceled)
			arrives(t, ended, "the end of the function")
			require.Equal(t, 1, of(ERPCAs[int](w.ctx(), caller, there.Name(), "m", "one")).must(t))
		}
		b := box(t, here)
		called := async(func() (ei.Term, error) { return ERPCAs[ei.Term](w.ctx(), b, there.Name(), "m", "wait") })
		arrives(t, began, "the function")
		b.Exit(ei.Atom("enough"))
		end := new(ExitError)
		require.ErrorAs(t, arrives(t, called, "the end of the call").err, &end)
		require.Equal(t, b.Pid(), end.Pid)
		arrives(t, ended, "the end of the function")
		nothingLeft(t, here, there)
	})
}

// What a peer may answer to a SPAWN_REQUEST, and what it must not bring about.
func TestERPCAnswers(t *testing.T) {
	a, p := newWorld(t, "memory").met("alice")
	child := ei.Pid{Node: "wire@test", ID: 5, Creation: 77}
	pid := exitReason(child)
	stranger := exitReason(ei.Pid{Node: "other@test", ID: 5, Creation: 77})
	for _, tt := range []struct {
		name   string
		answer func(q *dist.Control)
		want   string
		is     error
	}{
		{"refused", func(q *dist.Control) {
			p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Result: exitReason(ei.Atom("system_limit"))}, nil)
		}, "error: {erpc,system_limit}", nil},
		{"not supported", func(q *dist.Control) {
			p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Result: exitReason(ei.Atom("notsup"))}, nil)
		}, "error: {erpc,notsup}", errors.ErrUnsupported},
		{"no monitor", func(q *dist.Control) {
			p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Result: pid}, nil)
		}, "error: {erpc,notsup}", errors.ErrUnsupported},
		{"a pid of another node", func(q *dist.Control) {
			p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Flags: dist.SpawnMonitored, Result: stranger}, nil)
		}, "error: {erpc,notsup}", errors.ErrUnsupported},
		{"an end without a beginning, then a refusal", func(q *dist.Control) {
			p.Send(dist.Control{Op: dist.OpMonitorPExit, Ref: q.Ref, From: child, To: q.From, Reason: exitReason(ei.Atom("x"))}, nil)
			p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Result: exitReason(ei.Atom("badopt"))}, nil)
		}, "error: {erpc,badopt}", nil},
		{"another one's result", func(q *dist.Control) {
			p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Flags: dist.SpawnMonitored, Result: pid}, nil)
			p.Send(dist.Control{Op: dist.OpMonitorPExit, Ref: q.Ref, From: child, To: q.From,
				Reason: exitReason(ei.Tuple{ei.Ref{Node: "x@test", Len: 3}, ei.Atom("return"), ei.Int(1)})}, nil)
		}, "exit: {signal,{#Ref<x@test.0.0.0>,return,1}}", nil},
		{"the loss of the connection", func(*dist.Control) {}, "error: {erpc,noconnection}", ErrNoConnection},
	} {
		called := async(func() (ei.Term, error) { return a.ERPC(soon(t), "wire@test", "m", "f", 1) })
		q, args := p.Next()
		require.Equal(t, dist.OpSpawnRequest, q.Op, tt.name)
		require.Equal(t, "[monitor]", q.Options.String())
		require.Equal(t, a.Whereis("net_kernel").Pid(), q.GroupLeader)
		require.Equal(t, "erpc:execute_call/4", fmt.Sprintf("%s:%s/%d", q.Module, q.Function, q.Arity))
		list, _ := ei.Elements(args)
		require.Equal(t, ei.List{ei.Atom("m"), ei.Atom("f"), ei.String("\x01")}.String(), ei.List(list[1:]).String())
		tt.answer(&q)
		if tt.is == ErrNoConnection {
			p.Close()
		}
		err := arrives(t, called, tt.name).err
		e := new(ERPCError)
		require.ErrorAs(t, err, &e, tt.name)
		if tt.name != "another one's result" {
			require.Equal(t, tt.want, e.Error(), tt.name)
		} else {
			require.ErrorAs(t, err, new(*ExitError))
		}
		if tt.is != nil {
			require.ErrorIs(t, err, tt.is, tt.name)
		}
		nothingLeft(t, a)
	}
}

// A peer that has no processes for others, a C node, is not asked.
func TestERPCUnsupported(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	w.started("bob", func(cfg *Config) { cfg.Flags = dist.FlagsLibei })
	_, err := a.ERPC(w.ctx(), "bob@test", "m", "f")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorAs(t, err, new(*ERPCError))
	require.ErrorIs(t, a.ERPCCast(w.ctx(), "bob@test", "m", "f"), errors.ErrUnsupported)
	b := box(t, a)
	_, err = b.Spawn(w.ctx(), "bob@test", "m", "f")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorAs(t, err, new(*SpawnError))
	_, err = b.SpawnRequest(w.ctx(), "bob@test", nil, "m", "f")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	nothingLeft(t, a)
}

// A node that was not started calls, too: the caller reads.
func TestERPCFromUnstarted(t *testing.T) {
	w := newWorld(t, "tcp")
	there := w.started("bob")
	exposeAll(there)
	n := w.node("alice")
	v := of(n.ERPC(w.ctx(), "bob@test", "m", "echo", 1)).must(t)
	require.Equal(t, "[1]", v.String())
	_, err := n.ERPC(w.ctx(), "bob@test", "m", "exit")
	require.ErrorAs(t, err, new(*Raise))
	require.NoError(t, n.ERPCCast(w.ctx(), "bob@test", "m", "echo", 1))
	r := of(n.ERPCRequest(w.ctx(), "bob@test", "m", "echo", 2)).must(t)
	v = of(r.Wait(w.ctx())).must(t)
	require.Equal(t, "[2]", v.String())
}

// Answers come in the order in which they are given, each once; what is not waited for is dropped.
func TestRequests(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		gates := map[int]chan struct{}{}
		for i := range 4 {
			gates[i] = make(chan struct{})
		}
		there.Expose("m", "gate", FuncOf(func(ctx context.Context, i int) (int, error) {
			select {
			case <-gates[i]:
				return i, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}))
		var requests []*Request
		for i := range 4 {
			r := of(here.ERPCRequest(w.ctx(), there.Name(), "m", "gate", i)).must(t)
			require.Equal(t, there.Name(), r.Node())
			requests = append(requests, r)
		}
		over, cancel := context.WithCancel(w.ctx())
		cancel()
		_, err := requests[0].Wait(over)
		require.ErrorIs(t, err, context.Canceled, "the wait, not the call")
		require.Empty(t, slices.Collect(Answered(over, requests...)))
		close(gates[2])
		var order []int
		for r := range Answered(w.ctx(), requests...) {
			v := of(WaitAs[int](w.ctx(), r)).must(t)
			arrives(t, r.Done(), "the answer")
			order = append(order, v)
			switch v {
			case 2:
				close(gates[0])
			case 0:
				close(gates[3])
			}
			if v == 3 {
				break
			}
		}
		require.Equal(t, []int{2, 0, 3}, order)
		v := of(requests[2].Wait(w.ctx())).must(t)
		require.Equal(t, ei.Int(2), v, "again")
		requests[1].Abandon()
		_, err = requests[1].Wait(w.ctx())
		require.ErrorIs(t, err, context.Canceled)
		nothingLeft(t, here, there)

		serve(t, there, "echo", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
		r := of(here.SendRequestName(w.ctx(), there.Name(), "echo", 7)).must(t)
		require.Equal(t, 7, of(WaitAs[int](w.ctx(), r)).must(t))
		r = of(here.SendRequest(w.ctx(), there.Whereis("echo").Pid(), 8)).must(t)
		v = of(r.Wait(w.ctx())).must(t)
		require.Equal(t, ei.Int(8), v)
		r = of(here.SendRequestName(w.ctx(), there.Name(), "nobody", 7)).must(t)
		_, err = r.Wait(w.ctx())
		require.ErrorIs(t, err, ErrNoProc)
		_, err = here.ERPCRequest(w.ctx(), "nobody@test", "m", "gate")
		require.ErrorIs(t, err, ErrNoConnection)
	})
}

// A node that ends ends the requests.
func TestRequestsEndWithNode(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	b.Expose("m", "wait", func(ctx context.Context, _ []ei.Term) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
	r := of(a.ERPCRequest(w.ctx(), "bob@test", "m", "wait")).must(t)
	require.NoError(t, a.Close())
	_, err := r.Wait(w.ctx())
	require.ErrorIs(t, err, ErrClosed)
	_, err = a.ERPCRequest(w.ctx(), "bob@test", "m", "wait")
	require.ErrorIs(t, err, ErrClosed)
	_, err = a.ERPC(w.ctx(), a.Name(), "m", "wait")
	require.ErrorIs(t, err, ErrClosed)
}

// Each node is yielded once, with its answer, the quickest first; leaving the loop ends the calls.
func TestMulticall(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	var names []string
	began, ended := make(chan string, 16), make(chan string, 16)
	release := make(chan struct{})
	for _, alive := range []string{"n0", "n1", "n2"} {
		n := w.started(alive)
		names = append(names, n.Name())
		// who is quick, but waits until so many others have begun
		n.Expose("m", "slow", FuncOf(func(ctx context.Context, who string, others int) (string, error) {
			if alive == who {
				for range others {
					<-began
				}
			} else {
				began <- alive
				select {
				case <-release:
				case <-ctx.Done():
					ended <- alive
				}
			}
			return alive, nil
		}))
	}
	names = append(names, "nobody@test", a.Name())
	var got []string
	for node, answer := range a.Multicall(w.ctx(), names, "m", "slow", "n1", 2) {
		got = append(got, node)
		switch node {
		case "nobody@test":
			require.ErrorIs(t, answer.Err, ErrNoConnection)
		case "alice@test":
			require.ErrorAs(t, answer.Err, new(*Raise))
		case "n1@test":
			require.Equal(t, ei.Binary("n1"), answer.Value)
		}
		if len(got) == 3 {
			require.ElementsMatch(t, []string{"nobody@test", "alice@test", "n1@test"}, got, "the others wait")
			close(release)
		}
	}
	require.ElementsMatch(t, names, got)

	release = make(chan struct{})
	for node, answer := range MulticallAs[string](w.ctx(), box(t, a), names[:3], "m", "slow", "n2", 2) {
		require.NoError(t, answer.Err)
		require.Equal(t, "n2@test", node)
		require.Equal(t, "n2", answer.Value)
		break
	}
	require.ElementsMatch(t, []string{"n0", "n1"}, []string{arrives(t, ended, "one end"), arrives(t, ended, "the other")})

	ctx, cancel := context.WithTimeout(w.ctx(), 50*time.Millisecond)
	defer cancel()
	count := 0
	for _, answer := range a.Multicall(ctx, names[:3], "m", "slow", "nobody", 0) {
		require.ErrorIs(t, answer.Err, context.DeadlineExceeded)
		count++
	}
	require.Equal(t, 3, count)
	for _, answer := range a.Multicall(w.ctx(), names[:2], "m", "slow", make(chan int)) {
		require.ErrorContains(t, answer.Err, "is no term")
	}
	nothingLeft(t, a)
}

func TestERPCCast(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		ran := make(chan int, 4)
		there.Expose("m", "run", FuncOf(func(i int) { ran <- i }))
		require.NoError(t, here.ERPCCast(w.ctx(), there.Name(), "m", "run", 1))
		require.Equal(t, 1, arrives(t, ran, "the cast"))
		require.ErrorIs(t, here.ERPCCast(w.ctx(), "nobody@test", "m", "run", 1), ErrNoConnection)
		err := here.Multicast(w.ctx(), []string{there.Name(), "nobody@test", there.Name()}, "m", "run", 2)
		require.ErrorIs(t, err, ErrNoConnection)
		require.ErrorContains(t, err, "cast m:run/1 to nobody@test: ")
		require.Equal(t, 2, arrives(t, ran, "a cast"))
		require.Equal(t, 2, arrives(t, ran, "a cast"))
		require.Error(t, here.Multicast(w.ctx(), nil, "m", "run", make(chan int)))
		nothingLeft(t, here, there)
	})
}
