//go:build unix

package nodes

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// A connection that breaks while its node is frozen is broken in the new process.
func TestUpgradeBrokenConnection(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	peer := w.started("peer")
	n := w.started("front")
	theirs := box(t, peer)
	b := registered(t, n, "b", &MailboxOptions{TrapExit: true})
	require.NoError(t, b.Link(ctx, theirs.Pid()))
	require.NoError(t, b.MonitorNode(ctx, "peer@test"))
	f := freeze(t, n)
	require.NoError(t, peer.Close())
	s := restore(t, again(n), f)
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(ctx))
	heir := s.Mailboxes()
	require.Len(t, heir, 1)
	for range 2 {
		receive(t, heir[0])
	}
}

// A connection that breaks while its node is being frozen, after its reader has halted, stays in
// the old process and ends there.
func TestUpgradeBrokenOnTheWay(t *testing.T) {
	w := newWorld(t, "tcp")
	w.started("peer")
	var c *Conn
	closed := make(chan result[any], 1)
	n := w.started("front", func(cfg *Config) {
		cfg.Handover = func(context.Context) ([]byte, error) {
			go func() { closed <- of[any](nil, c.Close()) }()
			<-c.Done()
			return nil, nil
		}
	})
	c = connect(t, n, "peer@test")
	f := freeze(t, n)
	inTime(t, "Release", func() { require.NoError(t, f.Release()) })
	require.NoError(t, arrives(t, closed, "the end of the connection").err)
	inTime(t, "Close of the node", func() { require.NoError(t, n.Close()) })
}

// A connection whose plug-in knows that it has broken, and whose reader does not, does not keep the
// node from moving: the new process finds the connection missing.
func TestUpgradeBrokenExport(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	var broken atomic.Int64 // the descriptor
	cb := transport.TCPCallbacks()
	cb.Name = "broken"
	cb.Export = func(fd int) ([]byte, error) {
		if int64(fd) == broken.Load() {
			return nil, fmt.Errorf("TLS with somebody: %w", syscall.EPIPE)
		}
		return nil, nil
	}
	tr := of(transport.New(cb, nil)).must(t)
	n := w.started("front", func(c *Config) { c.Transport = tr })
	b := registered(t, n, "b", &MailboxOptions{TrapExit: true})
	dead := box(t, w.started("dead"))
	alive := box(t, w.started("alive"))
	require.NoError(t, b.Link(ctx, dead.Pid()))
	require.NoError(t, b.Link(ctx, alive.Pid()))
	for range 2 {
		require.NoError(t, b.MonitorNode(ctx, "dead@test"))
	}
	linked, watcher := registered(t, n, "linked"), box(t, n)
	require.NoError(t, n.Register(ctx, "watcher", watcher))
	require.NoError(t, linked.Link(ctx, dead.Pid()))
	ref := monitor(t, watcher, linked.Pid())
	fd := of(n.Conn("dead@test").l.Stream().Descriptor()).must(t)
	broken.Store(int64(fd))

	f := freeze(t, n)
	f.Thaw()
	require.Len(t, n.Peers(), 2, "here it goes on")
	n = upgrade(t, n)
	b = n.Whereis("b")
	m := receive(t, b)
	require.Equal(t, dead.Pid(), m.From, "its link has broken")
	for range 2 {
		require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom("dead@test")}, term(t, b), "each call of MonitorNode is answered")
	}
	m = receive(t, n.Whereis("watcher"))
	require.Equal(t, ref, m.Ref, "a process that has ended because of it is mourned")
	require.NoError(t, alive.SendName(ctx, n.Name(), "b", ei.Atom("still_here")))
	m = receive(t, b)
	require.Equal(t, alive.Pid(), m.From)
}
