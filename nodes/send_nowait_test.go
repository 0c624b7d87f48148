package nodes

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// Under NoWait an operation that needs an answer from elsewhere does not begin, and one that ends
// by force when time is up does so at once.
func TestNoWaitBeginsNothing(t *testing.T) {
	for _, started := range []bool{true, false} {
		w := newWorld(t, "tcp")
		peer := w.started("peer")
		n := w.node("alice", func(c *Config) { c.Resolver = hangs{w.book} })
		if started {
			require.NoError(t, n.Start(w.ctx()))
		}
		c := connect(t, n, "peer@test")
		b, other := box(t, n), box(t, peer)
		derived, cancel := context.WithCancel(transport.NoWait())
		defer cancel()
		for _, ctx := range []context.Context{transport.NoWait(), derived} {
			inTime(t, "all that does not wait", func() {
				for what, f := range map[string]func() error{
					"Connect":     func() error { _, err := n.Connect(ctx, "hangs@test"); return err },
					"ConnectAddr": func() error { _, err := n.ConnectAddr(ctx, peer.Listeners()[0].Addr(), ""); return err },
					"Send":        func() error { return b.SendName(ctx, "hangs@test", "x", ei.Atom("x")) },
					"Link":        func() error { return b.Link(ctx, ei.Pid{Node: "hangs@test", ID: 1, Creation: 1}) },
					"Conn.RPC":    func() error { _, err := c.RPC(ctx, "m", "f"); return err },
					"Call":        func() error { _, err := n.Call(ctx, other.Pid(), ei.Atom("x")); return err },
					"RPC":         func() error { _, err := n.RPC(ctx, "peer@test", "m", "f"); return err },
					"Conn.Freeze": func() error { _, err := c.Freeze(ctx); return err },
					"Freeze":      func() error { _, err := n.Freeze(ctx); return err },
				} {
					require.ErrorIs(t, f(), os.ErrDeadlineExceeded, what)
				}
			})
		}
		require.NoError(t, c.Err())
		inTime(t, "Shutdown", func() { _ = n.Shutdown(transport.NoWait()) })
		require.ErrorIs(t, n.Err(), ErrClosed)
	}
}

// Under NoWait a signal that would have to wait for room is not sent, and the connection stays up.
func TestNoWaitForRoom(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, deaf, _ *wire, _ func()) {
		b := box(t, n)
		for range 100 {
			_, err := b.Monitor(transport.NoWait(), deaf.Self)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.ErrorIs(t, b.Link(transport.NoWait(), deaf.Self), os.ErrDeadlineExceeded)
		}
		require.NotNil(t, n.Conn("deaf@test"))
	})
}
