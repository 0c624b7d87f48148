//go:build unix

package nodes

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// acts are all the operations with a context that wait while a node is frozen: those of one mailbox
// on a process here, and on one elsewhere.
func acts(b *Mailbox, linked, here, there ei.Pid) map[string]func(ctx context.Context) error {
	m := map[string]func(ctx context.Context) error{
		"unlink here":  func(ctx context.Context) error { return b.Unlink(ctx, linked) },
		"monitor node": func(ctx context.Context) error { return b.MonitorNode(ctx, string(there.Node)) },
	}
	for where, pid := range map[string]ei.Pid{"here": here, "there": there} {
		m["send "+where] = func(ctx context.Context) error { return b.Send(ctx, pid, "lost") }
		m["exit "+where] = func(ctx context.Context) error { return b.SendExit(ctx, pid, ei.Atom("lost")) }
		m["link "+where] = func(ctx context.Context) error { return b.Link(ctx, pid) }
		m["monitor "+where] = func(ctx context.Context) error { _, err := b.Monitor(ctx, pid); return err }
		m["call "+where] = func(ctx context.Context) error { _, err := b.n.Call(ctx, pid, "lost"); return err }
	}
	return m
}

// An operation that begins while the node is frozen ends with its context; one that waits until the
// release gets ErrMoved, as does one that begins after it.
func TestHeldNodeWaitsOrRefuses(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	there := trapping(t, w.started("peer"))
	n := w.started("front")
	b, linked, here := box(t, n), box(t, n), trapping(t, n)
	require.NoError(t, b.Link(ctx, linked.Pid()))
	connect(t, n, "peer@test")
	f := freeze(t, n)
	all := acts(b, linked.Pid(), here.Pid(), there.Pid())
	waiting := map[string]<-chan result[any]{}
	for what, act := range all {
		inTime(t, what, func() {
			require.ErrorIs(t, act(brief(t)), context.DeadlineExceeded, what)
		})
		waiting[what] = async(func() (any, error) { return nil, act(ctx) })
	}
	require.NoError(t, f.Release())
	for what, act := range all {
		require.ErrorIs(t, arrives(t, waiting[what], what).err, ErrMoved, what)
		require.ErrorIs(t, act(ctx), ErrMoved, what)
	}
	require.Zero(t, unread(there))
}

// A link that waits for the end of a single connection's freeze is ErrMoved too.
func TestHeldConnHoldsUnlink(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	there := box(t, w.started("peer"))
	n := w.started("front")
	b := box(t, n)
	require.NoError(t, b.Link(ctx, there.Pid()))
	c := n.Conn("peer@test")
	f := freeze(t, c)
	unlinked := async(func() (any, error) { return nil, b.Unlink(ctx, there.Pid()) })
	require.Eventually(t, func() bool {
		return c.l.Life().Awaited() // it waits
	}, tooLong, tick)
	require.ErrorIs(t, b.Unlink(brief(t), there.Pid()), context.DeadlineExceeded)
	require.NoError(t, f.Release())
	require.ErrorIs(t, arrives(t, unlinked, "the end of Unlink").err, ErrMoved)
}

// So are a MonitorNode, and a DemonitorNode: the nodedown comes from the other process, which knows
// the calls that were made before the freeze.
func TestHeldMonitorNode(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	w.started("peer")
	n := w.started("front")
	a, b := box(t, n), box(t, n)
	require.NoError(t, a.MonitorNode(ctx, "peer@test"))
	c := n.Conn("peer@test")
	for _, moves := range []bool{false, true} {
		f := freeze(t, c)
		require.ErrorIs(t, b.MonitorNode(brief(t), "peer@test"), context.DeadlineExceeded)
		c.l.Life().Set(life.Frozen) // nobody waits any more
		noted := async(func() (any, error) { return nil, b.MonitorNode(ctx, "peer@test") })
		require.Eventually(t, func() bool {
			return c.l.Life().Awaited() // it waits
		}, tooLong, tick)
		taken := async(func() (any, error) { a.DemonitorNode("peer@test"); return nil, nil })
		select {
		case <-taken:
			require.Fail(t, "DemonitorNode does not wait")
		case <-time.After(10 * time.Millisecond):
		}
		if !moves {
			f.Thaw()
			require.NoError(t, arrives(t, noted, "the end of MonitorNode").err)
			arrives(t, taken, "the end of DemonitorNode")
			require.Empty(t, a.nodes.Owed(""))
			require.NoError(t, a.MonitorNode(ctx, "peer@test"))
			continue
		}
		require.NoError(t, f.Release())
		require.ErrorIs(t, arrives(t, noted, "the end of MonitorNode").err, ErrMoved)
		arrives(t, taken, "the end of DemonitorNode")
	}
	require.Zero(t, unread(a)+unread(b), "nobody has gone down")
}

// A monitor that is ended during a freeze stays, and is described in the state, until the peer can
// be told of its end: it is never left on one side only.
func TestHeldDemonitor(t *testing.T) {
	w := newWorld(t, "tcp")
	peer, n := w.started("peer"), w.started("front")
	a, there := box(t, n), box(t, peer)
	for _, moves := range []bool{false, true} {
		ref := monitor(t, a, there.Pid())
		settle(t, a, there)
		require.Len(t, watchersOf(there), 1)
		c := n.Conn("peer@test")
		f := freeze(t, c)
		c.l.Life().Set(life.Frozen) // nobody waits any more
		ended := async(func() (any, error) { a.Demonitor(context.Background(), ref); return nil, nil })
		select {
		case <-ended:
			require.Fail(t, "Demonitor does not wait")
		case <-time.After(20 * time.Millisecond):
		}
		require.Len(t, watchingOf(a), 1)
		if moves {
			require.NoError(t, f.Release())
		} else {
			f.Thaw()
		}
		arrives(t, ended, "the end of Demonitor")
		require.Empty(t, watchingOf(a))
		if !moves {
			settle(t, a, there)
			require.Empty(t, watchersOf(there))
		}
	}
}

// A monitor that waits for room when its connection moves is not noted: neither process has a
// monitor that the peer does not know of.
func TestMonitorWaitsForRoom(t *testing.T) {
	w := newWorld(t, "unix")
	n := w.started("front", func(cfg *Config) { cfg.Flags = withoutFragments })
	p, c := w.ambush("wire@test").meet(n)
	b := box(t, n)
	ctx, cancel := context.WithCancel(w.ctx())
	defer cancel()
	// and the peer does not read; what the queue holds is copied in Freeze's own time, so little
	sent := async(func() (any, error) { return nil, c.Send(ctx, p.Self, make([]byte, 4<<20)) })
	require.Eventually(t, func() bool { queued, _ := link.Within(&c.l).Queue().Buffered(); return queued > 0 }, tooLong, tick)
	monitored := async(func() (ei.Ref, error) { return b.Monitor(w.ctx(), p.Self) })
	require.Never(t, func() bool { return len(watchingOf(b)) > 0 || len(sent) > 0 }, 50*time.Millisecond, tick)
	ctx = w.ctx()
	f, err := c.Freeze(ctx)
	// On a busy machine so much is not copied in Freeze's own time.
	for errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		f, err = c.Freeze(ctx)
	}
	require.NoError(t, err)
	var s states.Conn
	require.NoError(t, form.Read(states.KindConn, f.State(), &s))
	require.Empty(t, s.Bonds)
	require.NoError(t, f.Release())
	require.ErrorIs(t, arrives(t, monitored, "the end of Monitor").err, ErrMoved)
	require.Empty(t, watchingOf(b))
}

// On the lower level a Receive and a Call that wait when the connection is frozen end with their
// contexts, and others go on after them.
func TestHeldReceive(t *testing.T) {
	ca, cb := newWorld(t, "tcp").pair()
	brief, cancel := context.WithCancel(soon(t))
	received := async(func() (*Message, error) { return ca.Receive(brief) })
	require.Eventually(t, link.Within(&ca.l).Reading, tooLong, tick)
	f := freeze(t, ca)
	cancel()
	require.ErrorIs(t, arrives(t, received, "the end of Receive").err, context.Canceled)
	f.Thaw()

	brief, cancel = context.WithCancel(soon(t))
	called := async(func() (ei.Term, error) { return ca.RPC(brief, "m", "f") })
	require.Eventually(t, link.Within(&ca.l).Reading, tooLong, tick)
	received = async(func() (*Message, error) { return ca.Receive(soon(t)) })
	require.Eventually(t, ca.receiving.Load, tooLong, tick)
	f = freeze(t, ca)
	cancel()
	require.ErrorIs(t, arrives(t, called, "the end of Call").err, context.Canceled)
	f.Thaw()
	require.Eventually(t, func() bool { return len(ca.n.procs.all()) == 0 }, tooLong, tick, "the call's mailbox ends")
	require.NoError(t, cb.Send(soon(t), ca.Self(), "after"))
	r := arrives(t, received, "the message").must(t)
	require.Equal(t, ei.Binary("after"), content(t, r))
}

// A receiver that finds a mailbox held, with messages in it, gets them when the mailbox goes on,
// though none has come since.
func TestHeldMailboxWakesReceiver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := box(t, w.started("alice"))
		require.NoError(t, b.Send(t.Context(), b.Pid(), 1))
		b.n.procs.reach(life.Frozen)
		received := async(func() (*Message, error) { return b.Receive(t.Context()) })
		synctest.Wait()
		require.Empty(t, received)
		b.n.procs.unfreeze()
		defer b.n.life.Set(life.Open)
		arrives(t, received, "the message").must(t)
	})
}

// A freeze never comes between the two halves of a link or a monitor of two processes of the node.
func TestFreezeBesideBonds(t *testing.T) {
	n := newWorld(t, "tcp").started("front")
	a, b := trapping(t, n), trapping(t, n)
	loop(t, func(ctx context.Context) error {
		if err := a.Link(ctx, b.Pid()); err != nil {
			return err
		}
		return a.Unlink(ctx, b.Pid())
	})
	loop(t, func(ctx context.Context) error {
		_, err := a.Monitor(ctx, b.Pid())
		if watching := watchingOf(a); len(watching) > 10 {
			for ref := range watching {
				a.Demonitor(context.Background(), ref)
			}
		}
		return err
	})
	for range 300 {
		f := freeze(t, n)
		require.Equal(t, linksOf(a)[b.Pid()].Active, linksOf(b)[a.Pid()].Active)
		theirs := watchersOf(b)
		for ref := range watchingOf(a) {
			require.Contains(t, theirs, bonds.MonitorID{Ref: ref, Node: a.Pid().Node})
		}
		f.Thaw()
	}
}

// A Handler that is told that a process does not exist may link and monitor again.
func TestBondsInHandler(t *testing.T) {
	n := newWorld(t, "memory").started("front")
	gone := box(t, n)
	gone.Close()
	heard := make(chan error, 10)
	h := handle(t, n, "h", func(b *Mailbox, _ *Message) {
		select {
		case heard <- b.Link(soon(t), n.Whereis("there").Pid()):
		default:
		}
	}, &MailboxOptions{TrapExit: true})
	require.NoError(t, n.Register(t.Context(), "there", box(t, n)))
	inTime(t, "Link", func() { require.NoError(t, h.Link(soon(t), gone.Pid())) })
	inTime(t, "Monitor", func() { monitor(t, h, gone.Pid()) })
	for range 2 {
		require.NoError(t, arrives(t, heard, "what the Handler did"))
	}
}

// When a process ends while its node, or a connection of it, is being frozen, the processes that
// are linked to it are told, here and elsewhere: before the freeze, or in the process where they go
// on.
func TestExitBesideFreeze(t *testing.T) {
	// exiting ends a process up to its first signal.
	exiting := func(b *Mailbox) (proceed func()) {
		words := b.end(ei.Atom("gone"))
		return func() {
			for w := range words.all() {
				switch {
				case w.isHere():
					w.tellHere()
				default:
					if later := w.tell(transport.NoWait(), link.Lazily); later != nil {
						later()
					}
				}
			}
		}
	}
	t.Run("node", func(t *testing.T) {
		w := newWorld(t, "tcp")
		ctx := w.ctx()
		there := trapping(t, w.started("peer"))
		n := w.started("front")
		b, here := box(t, n), registered(t, n, "here", &MailboxOptions{TrapExit: true})
		require.NoError(t, b.Link(ctx, here.Pid()))
		require.NoError(t, b.Link(ctx, there.Pid()))
		settle(t, b, there)
		proceed := exiting(b)
		frozen := async(func() (*Frozen, error) { return n.Freeze(ctx) })
		require.Eventually(t, func() bool { return n.life.Phase() == life.Ending }, tooLong, tick)
		proceed()
		f := arrives(t, frozen, "the freeze").must(t)
		s := restore(t, again(n), f)
		require.NoError(t, f.Release())
		require.NoError(t, s.Start(ctx))
		requireExit(t, there, b.Pid(), "gone")
		requireExit(t, s.Node().Whereis("here"), b.Pid(), "gone")
	})
	t.Run("connection", func(t *testing.T) {
		w := newWorld(t, "tcp")
		ctx := w.ctx()
		there := trapping(t, w.started("peer"))
		r := w.shuttle("peer@test", true)
		b := box(t, r.n[0])
		require.NoError(t, b.Link(ctx, there.Pid()))
		settle(t, b, there)
		proceed := exiting(b)
		moved := async(func() (*Moved, error) { return r.c.Detach(ctx) })
		require.Eventually(t, func() bool { return len(moved) > 0 || r.c.exits.Awaited() }, tooLong, tick)
		proceed()
		m := arrives(t, moved, "the connection").must(t)
		of(r.n[1].Adopt(ctx, m)).must(t)
		requireExit(t, there, b.Pid(), "gone")
	})
	t.Run("connection that stays", func(t *testing.T) {
		w := newWorld(t, "tcp")
		ctx := w.ctx()
		there := trapping(t, w.started("peer"))
		r := w.shuttle("peer@test", true)
		b, other := box(t, r.n[0]), box(t, r.n[0])
		require.NoError(t, b.Link(ctx, there.Pid()))
		settle(t, b, there)
		proceed := exiting(b)
		_, err := r.c.Detach(brief(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		settle(t, other, there) // the connection goes on, in both directions
		proceed()
		requireExit(t, there, b.Pid(), "gone")
		r.move()
	})
}

// Nor does Freeze wait for ever if goroutines make and break links with Handlers all the time, or
// Handlers do so themselves, and send to others. There are so many goroutines that some Handler
// would always be running.
func TestFreezeBesideBondsOfHandlers(t *testing.T) {
	for name, busy := range map[string]func(ctx context.Context, a, h *Mailbox) error{
		"with a Handler": func(ctx context.Context, a, h *Mailbox) error {
			if err := a.Link(ctx, h.Pid()); err != nil {
				return err
			}
			return a.Unlink(ctx, h.Pid())
		},
		"of a Handler's": func(ctx context.Context, a, h *Mailbox) error {
			if err := h.Link(ctx, a.Pid()); err != nil {
				return err
			}
			return h.Unlink(ctx, a.Pid())
		},
		"by a Handler": func(ctx context.Context, a, h *Mailbox) error { return a.Send(ctx, h.Pid(), "link") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "tcp")
			ctx := w.ctx()
			n := w.started("front")
			a := trapping(t, n)
			sink := handle(t, n, "", func(*Mailbox, *Message) {}, &MailboxOptions{Limit: 100_000})
			h := handle(t, n, "h", func(h *Mailbox, _ *Message) {
				if err := errors.Join(h.Link(ctx, a.Pid()), h.Unlink(ctx, a.Pid()), h.Send(ctx, sink.Pid(), "on")); err != nil && n.Err() == nil {
					t.Error(err)
				}
			}, &MailboxOptions{TrapExit: true, Limit: 100_000})
			for range 8 {
				loop(t, func(ctx context.Context) error { return busy(ctx, a, h) })
			}
			for range 100 {
				f := freeze(t, n)
				require.Equal(t, linksOf(a)[h.Pid()].Active, linksOf(h)[a.Pid()].Active)
				f.Thaw()
			}
		})
	}
}

// A node is frozen however many goroutines call its Handlers, or send in the name of one, without a
// pause.
func TestFreezeBesideCallsOfHandlers(t *testing.T) {
	steady := func() time.Duration { return time.Millisecond }
	random := func() time.Duration { return rand.N(2 * time.Millisecond) }
	for name, tt := range map[string]struct {
		takes   func() time.Duration
		busy    func(ctx context.Context, h *Mailbox) error
		freezes int
	}{
		"calls":           {random, func(ctx context.Context, h *Mailbox) error { _, err := h.n.Call(ctx, h.Pid(), "x"); return err }, 20},
		"sends in a name": {steady, func(ctx context.Context, h *Mailbox) error { return h.Send(ctx, h.Pid(), "x") }, 2},
		"calls in a name": {random, func(ctx context.Context, h *Mailbox) error {
			_, err := h.CallName(ctx, h.n.Name(), "other", "x")
			return err
		}, 2},
		"sends to another": {steady, func(ctx context.Context, h *Mailbox) error { return h.SendName(ctx, h.n.Name(), "other", "x") }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "tcp")
			n := w.started("front")
			var handled atomic.Int64
			answers := func(self *Mailbox, m *Message) {
				handled.Add(1)
				time.Sleep(tt.takes())
				if c, ok := self.CallOf(m); ok {
					assert.NoError(t, c.Reply(w.ctx(), "ok"))
				}
			}
			h := handle(t, n, "h", answers, &MailboxOptions{Limit: 100_000})
			handle(t, n, "other", answers, &MailboxOptions{Limit: 100_000})
			for range 8 {
				loop(t, func(ctx context.Context) error { return tt.busy(ctx, h) })
			}
			for range tt.freezes {
				before := handled.Load()
				require.Eventually(t, func() bool { return handled.Load() > before+50 }, tooLong, tick)
				freezes(t, n)
			}
		})
	}
}
