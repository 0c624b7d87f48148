//go:build unix

package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// A busyNode runs a function until it is told to let that end. Meanwhile a freeze drains, and
// everything goes on.
type busyNode struct {
	*Node
	finish chan struct{}
	frozen <-chan result[*Frozen]
}

// freezing is a started node that is being frozen and drains.
func (w *world) freezing(edit ...func(*Config)) *busyNode {
	w.t.Helper()
	b := &busyNode{finish: make(chan struct{})}
	begun := make(chan struct{})
	b.Node = w.started("front", append(edit, func(cfg *Config) {
		cfg.Setup = func(n *Node) error {
			n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { close(begun); <-b.finish; return nil, nil })
			return nil
		}
	})...)
	peer := w.started("peer")
	called := async(func() (ei.Term, error) { return peer.RPC(w.ctx(), "front@test", "m", "f") })
	arrives(w.t, begun, "the call")
	b.frozen = async(func() (*Frozen, error) { return b.Freeze(w.ctx()) })
	require.Eventually(w.t, b.Listeners()[0].stopped.IsShut, tooLong, tick)
	w.t.Cleanup(func() { <-called })
	return b
}

// stands lets the function end, and waits until the node stands still.
func (b *busyNode) stands(t testing.TB) (*Frozen, error) {
	t.Helper()
	close(b.finish)
	f := arrives(t, b.frozen, "the end of Freeze")
	return f.v, f.err
}

// A listener that is opened while a freeze drains moves with the node.
func TestListenBesideFreeze(t *testing.T) {
	w := newWorld(t, movers[0])
	b := w.freezing()
	l := listen(t, b.Node, w.addr("other"))
	f := of(b.stands(t)).must(t)
	s := restore(t, again(b.Node), f)
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(w.ctx()))
	all := s.Node().Listeners()
	require.Len(t, all, 2)
	require.Equal(t, l.Addr(), all[1].Addr())
	w.book.set("front@test", l.Addr())
	w.join(w.node("late"), s.Node(), all[1])
}

// One that cannot move, too, and that is opened while a freeze drains, is refused.
func TestListenImmovableBesideFreeze(t *testing.T) {
	w := newWorld(t, movers[0])
	b := w.freezing()
	_, err := b.ListenOn(w.ctx(), immovable(t), w.addr("other"))
	require.NoError(t, err)
	_, err = b.stands(t)
	var not *NotMovableError
	require.ErrorAs(t, err, &not)
	require.Equal(t, "stuck", not.Plugin)
	require.False(t, b.Listeners()[0].stopped.IsShut())
}

// A Listen that is in progress when the node comes to a stand waits for the end of the freeze: then
// it has opened a listener of this node, or none.
func TestListenWaitsForFreeze(t *testing.T) {
	for _, moves := range []bool{false, true} {
		w := newWorld(t, movers[0])
		n := w.started("front")
		cb := transport.TCPCallbacks()
		opened, goOn := make(chan struct{}), make(chan struct{})
		listen := cb.Listen
		cb.Listen = func(fd int, addr transport.Addr, backlog int) (transport.Addr, error) {
			close(opened)
			<-goOn
			return listen(fd, addr, backlog)
		}
		tr := of(transport.New(cb, nil)).must(t)
		before, _ := descriptors()
		listened := async(func() (*Listener, error) { return n.ListenOn(w.ctx(), tr, w.addr("other")) })
		arrives(t, opened, "the plug-in's Listen")
		f := freeze(t, n)
		close(goOn)
		require.Eventually(t, n.life.Awaited, tooLong, tick)
		require.Empty(t, listened)
		_, err := n.Listen(transport.NoWait(), w.addr("no"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		if moves {
			require.NoError(t, f.Release())
			require.ErrorIs(t, arrives(t, listened, "Listen").err, ErrMoved)
			after, _ := descriptors()
			require.Less(t, after, before+1, "nothing stays open")
			continue
		}
		f.Thaw()
		r := arrives(t, listened, "Listen")
		require.NoError(t, r.err)
		require.Contains(t, n.Listeners(), r.v)
	}
}

// A listener that has ended, whether it is being closed or its socket has failed, does not keep its
// node from moving, and stays behind.
func TestFreezeBesideEndOfListener(t *testing.T) {
	w := newWorld(t, movers[0])
	n := w.started("front")
	for _, end := range []func(l *Listener){
		// the first steps of Close
		func(l *Listener) { l.end(ErrClosed); require.NoError(t, l.l.Close()) },
		func(l *Listener) { l.end(errFault) }, // see run
	} {
		l := listen(t, n, w.addr("other"))
		end(l)
		f := freeze(t, n)
		require.Len(t, f.Descriptors(), 1)
		inTime(t, "Close of what does not move", func() { require.NoError(t, l.Close()) })
		f.Thaw()
		require.Len(t, n.Listeners(), 1)
	}
	l := listen(t, n, w.addr("other"))
	l.end(errFault)
	upgrade(t, n)
	require.ErrorIs(t, l.Err(), errFault)
	_, err := l.l.Accept(w.ctx())
	require.Error(t, err, "it is closed")

	n = w.started("again")
	for range 100 {
		l := listen(t, n, w.addr("other"))
		closed := async(func() (any, error) { return nil, l.Close() })
		f := freeze(t, n)
		f.Thaw()
		require.NoError(t, arrives(t, closed, "Close").err)
	}
}

// A listener that has begun to accept goes on by itself in the new process, and one that has not
// begun does not.
func TestUpgradeListenerGoesOn(t *testing.T) {
	for _, started := range []bool{true, false} {
		w := newWorld(t, movers[0])
		n := w.node("front")
		if started {
			require.NoError(t, n.Start(w.ctx()))
		}
		l := listen(t, n, w.addr("other"))
		listen(t, n, w.addr("another"))
		_, err := l.Accept(transport.NoWait())
		require.Error(t, err)
		for range 2 {
			n = upgrade(t, n)
		}
		w.book.set("front@test", l.Addr())
		for _, name := range []string{"alice", "bob"} {
			connect(t, w.node(name), "front@test")
		}
		all := n.Listeners()
		require.False(t, all[len(all)-1].begins())
	}
}

// A connection that no Accept has returned is returned by the Accept of the new process, once, and
// by none while the node is frozen.
func TestUpgradeUnaccepted(t *testing.T) {
	w := newWorld(t, movers[0])
	n, l := w.listening("front")
	_, err := l.Accept(transport.NoWait())
	require.Error(t, err)
	var last *Conn
	names := []string{"alice", "bob", "carol", "dave", "erin"}
	for i, name := range names {
		last = connect(t, w.node(name), "front@test")
		require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.up) == i+1 }, tooLong, tick)
	}
	c := of(l.Accept(w.ctx())).must(t)
	require.Equal(t, "alice@test", c.Name())
	ended := n.Conn("bob@test")
	require.NoError(t, ended.Close())
	arrives(t, ended.l.Left(), "the end of the connection")

	f := freeze(t, n)
	_, err = l.Accept(transport.NoWait())
	require.Error(t, err)
	waiting := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	s := restore(t, again(n), f)
	staged := s.Node().Listeners()[0]
	_, err = staged.Accept(transport.NoWait())
	require.Error(t, err, "not before Start")
	require.NoError(t, f.Release())
	require.ErrorIs(t, arrives(t, waiting, "Accept").err, ErrMoved)
	require.NoError(t, s.Start(w.ctx()))
	n = s.Node()
	for _, name := range []string{"carol", "dave", "erin"} {
		c = of(n.Listeners()[0].Accept(w.ctx())).must(t)
		require.Equal(t, name+"@test", c.Name())
		require.Same(t, n.Conn(c.Name()), c)
		if name == "carol" {
			n = upgrade(t, n)
		}
	}
	require.NoError(t, last.Send(w.ctx(), c.Self(), 1))
	require.Equal(t, c.Self(), receive(t, c).To)
	n = upgrade(t, n)
	_, err = n.Listeners()[0].Accept(transport.NoWait())
	require.Error(t, err, "each was returned once")
}

// A node that is not yet restored accepts nothing, even if it is asked to: what has come belongs to
// whoever owns the node in the end.
func TestUpgradeAcceptBeforeStart(t *testing.T) {
	w := newWorld(t, movers[0])
	n, l := w.listening("front")
	f := freeze(t, n)
	s := restore(t, again(n), f)
	staged := s.Node().Listeners()[0]
	waiting := async(func() (*Conn, error) { return staged.Accept(w.ctx()) })
	require.Eventually(t, staged.begins, tooLong, tick)
	p := w.wire(l)
	_, err := staged.l.Accept(w.ctx())
	require.ErrorIs(t, err, transport.ErrPaused)
	require.NoError(t, s.Discard())
	require.ErrorIs(t, arrives(t, waiting, "Accept").err, ErrMoved)
	f.Thaw()
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	require.NoError(t, p.Initiate(role("alice@test")))
	require.NoError(t, arrives(t, accepted, "the connection").err)
}

// What Setup has opened in a node that is given up is closed.
func TestDiscardClosesListenersOfSetup(t *testing.T) {
	w := newWorld(t, movers[0])
	n := w.started("front")
	f := freeze(t, n)
	defer f.Thaw()
	before, _ := descriptors()
	for _, fails := range []bool{false, true} {
		var l *Listener
		cfg := again(n)
		cfg.Setup = func(n *Node) (err error) {
			l, err = n.Listen(w.ctx(), w.addr("of Setup"))
			if fails {
				err = errors.Join(err, errFault)
			}
			return err
		}
		s, err := Restore(cfg, f.State(), duplicates(t, f.Descriptors()))
		if fails {
			require.ErrorIs(t, err, errFault)
		} else {
			require.NoError(t, err)
			require.NoError(t, s.Discard())
		}
		require.ErrorIs(t, l.Err(), ErrMoved)
		_, err = w.tr.Connect(w.ctx(), l.Addr())
		require.Error(t, err, "nobody listens")
	}
	require.Eventually(t, func() bool { after, _ := descriptors(); return after <= before }, tooLong, tick) // others' go late
}

// A freeze waits for the handshake of a connection that has been accepted just then: a peer that
// does its part at once is not cut off when the node moves. Without that wait some of these runs
// fail.
func TestFreezeWaitsForJustAccepted(t *testing.T) {
	w := newWorld(t, movers[0])
	n := w.started("front", func(cfg *Config) { cfg.DrainTimeout = tooLong })
	var peers []*Node
	for i := range 8 {
		peers = append(peers, w.started(fmt.Sprintf("peer%d", i)))
	}
	for i := range 100 {
		var ups []<-chan result[*Conn]
		for _, p := range peers {
			ups = append(ups, async(func() (*Conn, error) { return p.Connect(w.ctx(), "front@test") }))
		}
		for began := time.Now(); time.Since(began) < time.Duration(i%40)*10*time.Microsecond; {
			runtime.Gosched()
		}
		n.shakeTime = tooLong
		n = upgrade(t, n)
		for _, up := range ups {
			r := arrives(t, up, "the connection")
			require.NoError(t, r.err)
			require.NoError(t, r.v.Close())
		}
	}
}
