//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

func setUpCloses(n *Node) {
	n.Expose("w", "close", func(_ context.Context, args []ei.Term) (any, error) { // its shadow of the connection to a peer
		c := n.Conn(string(args[0].(ei.Atom)))
		if c == nil || !c.shadow {
			return nil, ErrNoConnection
		}
		err := c.Close()
		if c.Err() != ErrClosed {
			err = c.Err()
		}
		return ei.Atom("ok"), err
	})
	n.Expose("w", "end", func(context.Context, []ei.Term) (any, error) {
		go n.Close()
		return ei.Atom("ok"), nil
	})
}

// shadowed gives two peers of two workers: x's connection has a shadow in y's worker, over which b, a process of x, is linked.
func shadowed(t *testing.T) (w *frontWorld, x, y *Node, b *Mailbox) {
	w = newFrontWorld(t, 2)
	ns := w.spread(2)
	x, y = ns[0], ns[1]
	b = w.mailbox(x, &MailboxOptions{TrapExit: true})
	joe := w.rpc(y, "start", ei.Atom("")).(ei.Pid)
	require.NoError(t, b.Link(patience(t), joe))
	_, err := x.Call(patience(t), joe, ei.Atom("pid"))
	require.NoError(t, err)
	return w, x, y, b
}

// Who closes the connection to a peer that another worker has closes that: the peer sees a nodedown, and no process that was killed.
func TestCloseOfShadow(t *testing.T) {
	w, x, y, b := shadowed(t)
	require.NoError(t, b.MonitorNode(patience(t), frontName))
	c := x.Conn(frontName)
	require.Equal(t, ei.Atom("ok"), w.rpc(y, "close", ei.Atom(x.Name())))
	_, why := reason(t, b, dist.OpExit)
	require.Equal(t, noconnection, why)
	require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom(frontName)}, term(t, b))
	require.Error(t, c.Err())
	w.worker(x) // it comes again
}

// A worker whose node closes ends its shadows, and no connection of others.
func TestShadowsOfNodeThatCloses(t *testing.T) {
	w, x, y, b := shadowed(t)
	c := x.Conn(frontName)
	_, _ = y.RPC(patience(t), frontName, "w", "end")
	reason(t, b, dist.OpExit)
	w.worker(x)
	require.NoError(t, c.Err())
}
