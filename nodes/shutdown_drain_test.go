package nodes

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
)

// Each state follows the one before; whoever waits for one hears of it, however the node ends.
func TestStates(t *testing.T) {
	reached := func(n *Node, s State) {
		t.Helper()
		require.Equal(t, s, n.State(), "%v", n.State())
		for want, c := range map[State]<-chan struct{}{StateDraining: n.Draining(), StateStopping: n.Stopping(), StateClosed: n.Done()} {
			select {
			case <-c:
				require.GreaterOrEqual(t, s, want)
			default:
				require.Less(t, s, want)
			}
		}
	}
	w := newWorld(t, "memory")
	b := w.node("bob")
	reached(b, StateStarting)
	require.NoError(t, b.Start(w.ctx()))
	reached(b, StateRunning)
	a := w.started("alice")
	connect(t, a, "bob@test")
	require.NoError(t, b.Drain(w.ctx()))
	require.NoError(t, b.Drain(w.ctx()), "once more")
	reached(b, StateDraining)
	_, err := b.Freeze(w.ctx())
	require.ErrorIs(t, err, ErrClosed)
	_, err = w.node("dave").Connect(w.ctx(), "bob@test")
	require.ErrorIs(t, err, ErrUnknownNode)
	running, release := make(chan struct{}), make(chan struct{})
	b.Expose("m", "work", FuncOf(func() { close(running); <-release }))
	worked := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "work") })
	arrives(t, running, "the function, in a node that drains")
	down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
	arrives(t, b.Stopping(), "the second step")
	reached(b, StateStopping)
	close(release)
	require.NoError(t, arrives(t, worked, "the result").err)
	require.NoError(t, arrives(t, down, "Shutdown").err)
	require.Equal(t, StateClosed, b.State())
	require.NoError(t, b.Drain(w.ctx()))

	c := w.started("carol")
	require.NoError(t, c.Close())
	arrives(t, c.Draining(), "the end")
	arrives(t, c.Stopping(), "the end")
	require.Equal(t, StateClosed, c.State())
	require.Equal(t, "starting running draining stopping closed State(5)",
		strings.TrimSpace(fmt.Sprintln(StateStarting, StateRunning, StateDraining, StateStopping, StateClosed, State(5))))
}

// The functions of OnDrain are called beside each other, once each; what has failed is tried again.
func TestOnDrain(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	var calls [4]atomic.Int32
	both := make(chan struct{})
	n.OnDrain(func(context.Context) error { calls[0].Add(1); both <- struct{}{}; return nil })
	n.OnDrain(func(ctx context.Context) error {
		if <-both; calls[1].Add(1) == 1 {
			return io.ErrClosedPipe
		}
		return nil
	})
	n.OnDrain(func(context.Context) error { calls[2].Add(1); return nil })()
	n.OnDrain(func(context.Context) error {
		if calls[3].Add(1) == 1 {
			panic("no")
		}
		return nil
	})
	err := n.Drain(w.ctx())
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.ErrorContains(t, err, "panicked")
	close(both)
	require.NoError(t, n.Drain(w.ctx()))
	require.NoError(t, n.Drain(w.ctx()))
	for i, want := range []int32{1, 2, 0, 2} {
		require.Equal(t, want, calls[i].Load(), i)
	}
	late := make(chan struct{})
	n.OnDrain(func(context.Context) error { close(late); return nil })()
	arrives(t, late, "that of a node that drains already")

	hangs := w.started("bob")
	hangs.OnDrain(func(ctx context.Context) error { <-ctx.Done(); <-hangs.Done(); return nil })
	require.ErrorIs(t, hangs.Drain(brief(t)), context.DeadlineExceeded)
	require.Equal(t, StateDraining, hangs.State())
}

// The grace is as long as Config.DrainGrace says, or a moment if there was something to leave, and
// counts from a Drain; the end of the context, or of the node, cuts it short.
func TestGrace(t *testing.T) {
	something := func(context.Context) error { return nil }
	for name, c := range map[string]struct {
		grace, limit, before, want time.Duration
		left                       bool
	}{
		"nothing to leave": {want: 0},
		"a moment":         {left: true, want: drainMoment},
		"none":             {grace: -1, left: true, want: 0},
		"so long":          {grace: time.Minute, want: time.Minute},
		"cut short":        {grace: time.Minute, limit: time.Second, want: time.Second},
		"drained before":   {grace: time.Minute, before: time.Second, want: time.Minute},
		"drained long ago": {grace: time.Minute, before: time.Hour, want: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				n := w.started("alice", func(cfg *Config) { cfg.DrainGrace = c.grace })
				if c.left {
					n.OnDrain(something)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if c.limit > 0 {
					time.AfterFunc(c.limit, cancel)
				}
				began := time.Now()
				stopping := make(chan time.Duration, 1)
				go func() { <-n.Stopping(); stopping <- time.Since(began) }()
				if c.before > 0 {
					require.NoError(t, n.Drain(ctx))
					time.Sleep(c.before)
				}
				_ = n.Shutdown(ctx)
				require.Equal(t, c.want, <-stopping)
			})
		})
	}
}

// gone waits for the DOWN of a monitor, and requires its reason.
func gone(t *testing.T, b *Mailbox, ref ei.Ref, want ei.Term) {
	t.Helper()
	m, why := reason(t, b, dist.OpMonitorPExit)
	require.Equal(t, ref, m.Ref)
	require.Equal(t, want, why)
}

// When a node stops, a Server that has nothing to do ends for other nodes at once, one that works
// as soon as it has answered what it has received; for its own node it is there as long as anything
// runs.
func TestServersEndAsNodeStops(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	running, release := make(chan struct{}), make(chan struct{})
	work := func(ctx context.Context) error { close(running); <-release; return nil }
	idle := serve(t, b, "idle", Server{Call: func(context.Context, *Call) (any, error) { return ei.Atom("here"), nil }})
	proceed := make(chan struct{})
	var call *Call
	began := make(chan struct{}, 10)
	busy := serve(t, b, "busy", Server{Call: func(_ context.Context, c *Call) (any, error) {
		began <- struct{}{}
		<-proceed
		return c.Request, nil
	}})
	later := serve(t, b, "later", Server{Call: func(_ context.Context, c *Call) (any, error) {
		call = c
		began <- struct{}{}
		return NoReply, nil
	}})
	b.Expose("m", "work", FuncOf(func(ctx context.Context) (ei.Term, error) {
		if err := work(ctx); err != nil {
			return nil, err
		}
		return b.CallName(ctx, "bob@test", "idle", 1)
	}))
	watch, linked := box(t, a), box(t, a)
	refs := map[*Mailbox]ei.Ref{}
	for _, s := range []*Mailbox{idle, busy, later} {
		refs[s] = monitor(t, watch, s.Pid())
	}
	linked.TrapExit(true)
	require.NoError(t, linked.Link(w.ctx(), idle.Pid()))
	worked := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "work") })
	arrives(t, running, "the function")
	var answers []<-chan result[ei.Term]
	for i := range 2 {
		answers = append(answers, async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "busy", i) }))
		if i == 0 {
			arrives(t, began, "the first call")
		}
	}
	require.Eventually(t, func() bool { return unread(busy) > 0 }, tooLong, tick)
	answers = append(answers, async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "later", 2) }))
	arrives(t, began, "the call that is left for later")

	down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
	gone(t, watch, refs[idle], ei.Atom("shutdown"))
	_, why := reason(t, linked, dist.OpExit)
	require.Equal(t, ei.Atom("shutdown"), why)
	for name, want := range map[string]ei.Atom{"idle": "noproc", "busy": "shutdown"} {
		_, err := a.CallName(w.ctx(), "bob@test", name, 1)
		require.Equal(t, want, exitOf(t, err), name)
	}
	ref := of(watch.MonitorName(w.ctx(), "bob@test", "idle")).must(t)
	gone(t, watch, ref, ei.Atom("noproc"))
	require.NoError(t, linked.Link(w.ctx(), idle.Pid()))
	_, why = reason(t, linked, dist.OpExit)
	require.Equal(t, ei.Atom("noproc"), why)
	require.NoError(t, idle.Err(), "it is there, for its own node")

	last := of(watch.Monitor(w.ctx(), busy.Pid())).must(t) // as in OTP: it still lives
	require.Eventually(t, func() bool {
		busy.mu.Lock()
		defer busy.mu.Unlock()
		_, ok := busy.bonds.Watcher(bonds.MonitorID{Ref: last, Node: "alice@test"})
		return ok
	}, tooLong, tick)
	close(proceed)
	for i, r := range answers[:2] {
		require.Equal(t, ei.Int(i), arrives(t, r, "the answer").must(t))
	}
	for range 2 { // in whatever order
		m, why := reason(t, watch, dist.OpMonitorPExit)
		require.Contains(t, []ei.Ref{refs[busy], last}, m.Ref)
		require.Equal(t, ei.Atom("shutdown"), why)
	}
	require.NoError(t, call.Reply(w.ctx(), ei.Int(2)))
	require.NoError(t, arrives(t, answers[2], "the late answer").err)
	gone(t, watch, refs[later], ei.Atom("shutdown"))

	require.Equal(t, StateStopping, b.State(), "all that while a function runs")
	close(release)
	require.Equal(t, ei.Atom("here"), arrives(t, worked, "the result").must(t))
	require.NoError(t, arrives(t, down, "Shutdown").err)
}
