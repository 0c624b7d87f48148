package nodes

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

func TestMonitor(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a, b := box(t, here), registered(t, there, "b")
		one := monitor(t, a, b.Pid())
		two := monitor(t, a, b.Pid())
		require.NotEqual(t, one, two, "each monitor is its own")
		three := of(a.MonitorName(w.ctx(), there.Name(), "b")).must(t)
		four := monitor(t, a, b.Pid())
		a.Demonitor(context.Background(), four)
		a.Demonitor(context.Background(), four)
		settle(t, a, b)
		require.Len(t, watchersOf(b), 3)
		why := ei.Tuple{ei.Atom("crash"), ei.Float(0.5)}
		b.Exit(why)
		seen := map[ei.Ref]*Message{}
		for range 3 {
			m, got := reason(t, a, dist.OpMonitorPExit)
			require.Equal(t, why, got)
			seen[m.Ref] = m
		}
		require.Len(t, seen, 3)
		require.Equal(t, b.Pid(), seen[one].From)
		require.Equal(t, b.Pid(), seen[two].From)
		require.Equal(t, ei.Atom("b"), seen[three].FromName, "who monitors a name hears of the name")
		settle(t, a, box(t, there))
		require.Zero(t, unread(a))
		require.Empty(t, watchingOf(a))
	})
}

// The end of a monitor of a name, as every gen_server:call causes it, concerns the process that has
// the name: it does not lock the others.
func TestDemonitorNameAsksOne(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a, b, other := box(t, here), registered(t, there, "b"), box(t, there)
		ref := of(a.MonitorName(w.ctx(), there.Name(), "b")).must(t)
		settle(t, a, b)
		require.Len(t, watchersOf(b), 1)
		other.mu.Lock()
		defer other.mu.Unlock()
		a.Demonitor(context.Background(), ref)
		settle(t, a, b)
		require.Empty(t, watchersOf(b))
	})
}

// The end of a monitor of a name that no process has, or has had, locks no process: a peer may send
// any number of them.
func TestDemonitorUnknownNameAsksNobody(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	b, other := box(t, n), registered(t, n, "taken")
	other.mu.Lock()
	defer other.mu.Unlock()
	p.Send(dist.Control{Op: dist.OpDemonitorP, From: p.Self, ToName: "nobody", Ref: ei.Ref{Node: "wire@test", Creation: 1, Len: 1}}, nil)
	p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Atom("end"))
	require.Equal(t, ei.Atom("end"), term(t, b))
}

// A node that makes a monitor with a reference of another node's does not affect the monitor which
// that node makes with it.
func TestMonitorsWithOneReference(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	l := n.Listeners()[0]
	good, evil := w.peer(l, role("good@test")), w.peer(l, role("evil@test"))
	for _, demonitors := range []bool{false, true} {
		b, local := registered(t, n, "b"), trapping(t, n)
		next := of(n.NewRef()).must(t)
		next.ID[0]++ // the node's own next one
		for _, ref := range []ei.Ref{{Node: "good@test", Creation: 1, Len: 1}, next} {
			evil.Send(dist.Control{Op: dist.OpMonitorP, From: evil.Self, ToName: "b", Ref: ref}, nil)
		}
		require.Eventually(t, func() bool { return len(watchersOf(b)) == 2 }, tooLong, tick)
		ref := ei.Ref{Node: "good@test", Creation: 1, Len: 1}
		good.Send(dist.Control{Op: dist.OpMonitorP, From: good.Self, ToName: "b", Ref: ref}, nil)
		mine := monitor(t, local, b.Pid())
		require.Equal(t, next, mine)
		require.Eventually(t, func() bool { return len(watchersOf(b)) == 4 }, tooLong, tick)
		if demonitors {
			for _, ref := range []ei.Ref{ref, mine} {
				evil.Send(dist.Control{Op: dist.OpDemonitorP, From: evil.Self, ToName: "b", Ref: ref}, nil)
			}
			require.Eventually(t, func() bool { return len(watchersOf(b)) == 2 }, tooLong, tick)
		}
		b.Exit(ei.Atom("gone"))
		require.Equal(t, ei.Atom("gone"), good.down(ref))
		gone(t, local, mine, ei.Atom("gone"))
		if !demonitors {
			for range 2 {
				ctl, _ := evil.Next()
				require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
			}
		}
	}
}

func TestMonitorNoproc(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a, gone := box(t, here), box(t, there)
		gone.Close()
		ref := monitor(t, a, gone.Pid())
		m, why := reason(t, a, dist.OpMonitorPExit)
		require.Equal(t, ref, m.Ref)
		require.Equal(t, gone.Pid(), m.From)
		require.Equal(t, ei.Atom("noproc"), why)
		ref = of(a.MonitorName(w.ctx(), there.Name(), "nobody")).must(t)
		m, why = reason(t, a, dist.OpMonitorPExit)
		require.Equal(t, ref, m.Ref)
		require.Equal(t, ei.Atom("nobody"), m.FromName)
		require.Equal(t, ei.Atom("noproc"), why)

		// A name's monitor is for the process that has the name now.
		first, second := registered(t, there, "x"), box(t, there)
		of(a.MonitorName(w.ctx(), there.Name(), "x")).must(t)
		settle(t, a, first)
		require.NoError(t, there.Unregister(context.Background(), "x"))
		require.NoError(t, there.Register(t.Context(), "x", second))
		second.Exit(ei.Atom("second"))
		first.Exit(ei.Atom("first"))
		_, why = reason(t, a, dist.OpMonitorPExit)
		require.Equal(t, ei.Atom("first"), why)

		// And is ended although the name has moved on.
		first, second = box(t, there), box(t, there)
		require.NoError(t, there.Register(t.Context(), "x", first))
		ref = of(a.MonitorName(w.ctx(), there.Name(), "x")).must(t)
		settle(t, a, first)
		require.NoError(t, there.Unregister(context.Background(), "x"))
		require.NoError(t, there.Register(t.Context(), "x", second))
		a.Demonitor(context.Background(), ref)
		settle(t, a, first)
		require.Empty(t, watchersOf(first))
	})
}

// The end of the watcher ends its monitors.
func TestMonitorEndsWithWatcher(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a, b := box(t, here), registered(t, there, "b")
		for range 3 {
			monitor(t, a, b.Pid())
			of(a.MonitorName(w.ctx(), there.Name(), "b")).must(t)
		}
		settle(t, a, b)
		require.Len(t, watchersOf(b), 6)
		a.Close()
		settle(t, box(t, here), b)
		require.Empty(t, watchersOf(b))
		_, err := a.Monitor(w.ctx(), b.Pid())
		require.Error(t, err, "a mailbox that has ended monitors nobody")
	})
}

func TestMonitorNoconnection(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		here, there, other := box(t, a), registered(t, b, "there"), box(t, b)
		one := monitor(t, here, there.Pid())
		two := of(here.MonitorName(w.ctx(), "bob@test", "there")).must(t)
		require.NoError(t, here.MonitorNode(w.ctx(), "bob@test"))
		require.NoError(t, here.MonitorNode(w.ctx(), "bob@test"))
		require.NoError(t, other.MonitorNode(w.ctx(), "alice@test"))
		settle(t, here, there)
		back := b.Conn("alice@test")
		require.NoError(t, a.Conn("bob@test").Close())
		refs, downs := map[ei.Ref]bool{}, 0
		for len(refs) < 2 || downs < 2 {
			m := receive(t, here)
			if m.Op == dist.OpSend {
				require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("bob@test")}, content(t, m))
				downs++
				continue
			}
			require.Equal(t, dist.OpMonitorPExit, m.Op)
			require.Equal(t, ei.Atom("noconnection"), decode(t, m.Reason))
			refs[m.Ref] = true
		}
		require.Equal(t, map[ei.Ref]bool{one: true, two: true}, refs)
		require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("alice@test")}, term(t, other))
		arrives(t, back.l.Left(), "the end for all processes")
		require.Empty(t, watchersOf(there), "who watched is out of sight")
		require.Zero(t, unread(here))
		there.Exit(ei.Atom("later"))

		// Once is once: the next nodedown wants to be asked for.
		settle(t, here, other)
		c := a.Conn("bob@test")
		require.NoError(t, b.Close())
		arrives(t, c.l.Left(), "the end of the connection")
		require.ErrorIs(t, here.MonitorNode(w.ctx(), "bob@test"), ErrNoConnection)
		_, err := here.Monitor(w.ctx(), there.Pid())
		require.ErrorIs(t, err, ErrNoConnection)
		require.Empty(t, watchingOf(here))
		require.Zero(t, unread(here))
	})
}

// MonitorNode while the connection ends: each call that succeeds gets exactly one nodedown.
func TestMonitorNodeBesideEnd(t *testing.T) {
	w := newWorld(t, "memory")
	a, _ := w.started("alice"), w.started("bob")
	for range 100 {
		c := connect(t, a, "bob@test")
		b := box(t, a)
		wanted := async(func() (int, error) {
			n := 0
			for range 20 {
				if err := b.MonitorNode(w.ctx(), "bob@test"); err == nil {
					n++
				}
			}
			return n, nil
		})
		c.Close()
		n := arrives(t, wanted, "MonitorNode").v
		if c := a.Conn("bob@test"); c != nil { // it has been connected anew
			c.Close()
		}
		for range n {
			require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("bob@test")}, term(t, b))
		}
		require.Zero(t, unread(b))
		b.Close()
	}
}

// A connection that ends while MonitorNode waits owes it a nodedown; and what such a connection has
// not broken yet can still be taken back.
func TestMonitorBesideLateEnd(t *testing.T) {
	w := newWorld(t, "memory")
	a, other := w.started("alice"), w.started("bob")
	b, told := trapping(t, a), make(chan *Message, 1)
	h := handle(t, a, "", func(_ *Mailbox, m *Message) { told <- m })
	var c *Conn
	for watcher, hears := range map[*Mailbox]func() *Message{
		b: func() *Message { return receive(t, b) },
		h: func() *Message { return arrives(t, told, "the nodedown of a Handler") },
	} {
		c = connect(t, a, "bob@test")
		a.life.Set(life.Ending)
		watched := async(func() (int, error) { return 0, watcher.MonitorNode(w.ctx(), "bob@test") })
		require.Eventually(t, a.life.Awaited, tooLong, tick)
		require.NoError(t, c.Close())
		arrives(t, c.l.Left(), "the end of the connection")
		require.Zero(t, unread(b)+len(told))
		a.life.Set(life.Open)
		require.NoError(t, arrives(t, watched, "MonitorNode").err)
		require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("bob@test")}, content(t, hears()))
	}

	pid, ref := box(t, other).Pid(), monitorRef(newWire(t, nil), 1)
	b.bonds.Watch(ref, bonds.Target{Node: "bob@test", Pid: pid})
	b.bonds.Link(b.pid, pid)
	b.Demonitor(context.Background(), ref)
	require.NoError(t, b.Unlink(w.ctx(), pid))
	require.Nil(t, a.Conn("bob@test"), "nothing needs to be said")
	b.breakWithNode(c)
	require.Empty(t, linksOf(b))
	require.Empty(t, watchingOf(b))
	require.Zero(t, unread(b))
}

// A mailbox's own node does not go down, and MonitorNode can be taken back.
func TestDemonitorNode(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	x := box(t, a)
	require.NoError(t, x.MonitorNode(w.ctx(), "alice@test"))
	for range 3 {
		require.NoError(t, x.MonitorNode(w.ctx(), "bob@test"))
	}
	x.DemonitorNode("bob@test")
	x.DemonitorNode("nobody@test")
	y := box(t, a)
	require.NoError(t, y.MonitorNode(w.ctx(), "bob@test"))
	y.DemonitorNode("bob@test") // the only one
	y.DemonitorNode("bob@test")
	require.NoError(t, b.Close())
	for range 2 {
		require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("bob@test")}, term(t, x))
	}
	require.Eventually(t, func() bool { return len(a.Peers()) == 0 }, tooLong, tick)
	require.Zero(t, unread(x))
	require.Zero(t, unread(y))
	x.DemonitorNode("bob@test")
	x.Close()
	gone := new(*ExitError)
	require.ErrorAs(t, x.MonitorNode(w.ctx(), "bob@test"), gone)
}

// A peer made with the C library knows no monitors: it is sent none, and the end of the connection
// is what a monitor reports.
func TestMonitorOfPrimitivePeer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.started("alice")
		self := role("wire@test")
		self.Flags = dist.FlagsLibei
		p := w.peer(a.Listeners()[0], self)
		synctest.Wait()
		b := trapping(t, a)
		ref := monitor(t, b, p.Self)
		b.Demonitor(context.Background(), ref)
		ref = of(b.MonitorName(w.ctx(), "wire@test", "x")).must(t)
		require.NoError(t, b.Send(w.ctx(), p.Self, "hello"))
		ctl, v := p.Next()
		require.Equal(t, dist.OpSend, ctl.Op, "SEND_SENDER was not agreed on")
		require.Equal(t, ei.Binary("hello"), v)
		require.NoError(t, b.Link(w.ctx(), p.Self))
		ctl, _ = p.Next()
		require.Equal(t, dist.OpLink, ctl.Op)
		require.NoError(t, b.SendExit(context.Background(), p.Self, ei.Atom("bye")))
		ctl, _ = p.Next()
		require.Equal(t, dist.OpExit2, ctl.Op, "the reason stands inside")
		p.Close()
		ops := map[dist.Op]ei.Ref{}
		for range 2 {
			m := receive(t, b)
			ops[m.Op] = m.Ref
		}
		require.Equal(t, map[dist.Op]ei.Ref{dist.OpExit: {}, dist.OpMonitorPExit: ref}, ops)
	})
}

// A monitor of such a peer's process that is made while the connection ends does not wait for an
// end that is over already.
func TestMonitorOfPrimitivePeerGone(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	self := role("wire@test")
	self.Flags = dist.FlagsLibei
	p := w.peer(a.Listeners()[0], self)
	var c *Conn
	require.Eventually(t, func() bool { c = a.Conn("wire@test"); return c != nil }, tooLong, tick)
	b := trapping(t, a)
	require.NoError(t, c.Close())
	ref := of(b.n.NewRef()).must(t)
	err := b.monitor(w.ctx(), ref, bonds.Target{Node: "wire@test", Pid: p.Self}, c, 0)
	require.ErrorIs(t, err, ErrClosed)
	require.Empty(t, watchingOf(b))
}

// Exits and DOWNs from a peer for links and monitors that do not exist are ignored.
func TestForgedMonitorExit(t *testing.T) {
	a, p := newWorld(t, "memory").met("alice")
	b, other := trapping(t, a), box(t, a)
	ref := monitor(t, other, p.Self)
	why := of(ei.AppendAtom(nil, "forged")).must(t)
	for _, ctl := range []dist.Control{
		// of another process
		{Op: dist.OpMonitorPExit, From: p.Self, To: b.Pid(), Ref: ref, Reason: why},
		{Op: dist.OpMonitorPExit, From: p.Self, To: other.Pid(), Ref: ei.Ref{Node: "wire@test", Creation: 1, Len: 1}, Reason: why},
		{Op: dist.OpExit, From: p.Self, To: b.Pid(), Reason: why}, // no link
		// in the name of one of ours
		{Op: dist.OpExit, From: other.Pid(), To: b.Pid(), Reason: why},
		{Op: dist.OpUnlinkIDAck, ID: 1, From: p.Self, To: b.Pid()},
		{Op: dist.OpDemonitorP, From: p.Self, To: b.Pid(), Ref: ref},
		{Op: dist.OpDemonitorP, From: p.Self, ToName: "nobody", Ref: ref},
		{Op: dist.OpGroupLeader, From: p.Self, To: b.Pid()},
		{Op: dist.OpNodeLink},
	} {
		p.Send(ctl, nil)
	}
	p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Atom("end"))
	require.Equal(t, ei.Atom("end"), term(t, b))
	require.Contains(t, watchingOf(other), ref)
	require.Zero(t, unread(other))
	require.NoError(t, other.Err())
}
