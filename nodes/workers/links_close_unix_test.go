//go:build unix

package workers

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

func setUpCloses(n *nodes.Node) {
	// its remote link of the connection to a peer
	n.Expose("w", "close", func(_ context.Context, args []ei.Term) (any, error) {
		c := n.Conn(string(args[0].(ei.Atom)))
		if c == nil || !insideOf(n).Ties(c).IsRemote {
			return nil, nodes.ErrNoConnection
		}
		err := c.Close()
		if c.Err() != nodes.ErrClosed {
			err = c.Err()
		}
		return ei.Atom("ok"), err
	})
	// a Handler that closes its messages' connection
	n.Expose("w", "closer", func(context.Context, []ei.Term) (any, error) {
		b, err := n.Handle("", func(_ *nodes.Mailbox, m *nodes.Message) { _ = m.Conn().Close() }, nil)
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	})
	// says over which peer's connection it is called
	n.Expose("w", "behind", func(context.Context, []ei.Term) (any, error) {
		b, err := n.Serve("", nodes.Server{Call: func(ctx context.Context, _ *nodes.Call) (any, error) {
			if c := nodes.ConnOf(ctx); c != nil {
				return ei.Atom(c.Name()), nil
			}
			return ei.Atom("none"), nil
		}}, nil)
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	})
	n.Expose("w", "end", func(context.Context, []ei.Term) (any, error) {
		go n.Close()
		return ei.Atom("ok"), nil
	})
}

// shadowed gives two peers of two workers: x's connection has a remote link in y's worker, over
// which b, a process of x, is linked.
func shadowed(t *testing.T) (w *frontWorld, x, y *nodes.Node, b *nodes.Mailbox) {
	w = newFrontWorld(t, 2)
	ns := w.spread(2)
	x, y = ns[0], ns[1]
	b = w.mailbox(x, &nodes.MailboxOptions{TrapExit: true})
	joe := w.start(y, "")
	require.NoError(t, b.Link(soon(t), joe))
	of(x.Call(soon(t), joe, ei.Atom("pid"))).must(t)
	return w, x, y, b
}

// A worker that closes its remote link of a connection closes the connection of the other worker:
// the peer sees a nodedown, and no process that was killed.
func TestCloseOfShadow(t *testing.T) {
	w, x, y, b := shadowed(t)
	require.NoError(t, b.MonitorNode(soon(t), frontName))
	c := x.Conn(frontName)
	require.Equal(t, ei.Atom("ok"), w.rpc(y, "close", ei.Atom(x.Name())))
	_, why := reason(t, b, dist.OpExit)
	require.Equal(t, noconnection, why)
	require.Equal(t, ei.Tuple{ei.Atom("nodedown"), ei.Atom(frontName)}, term(t, b))
	require.Error(t, c.Err())
	w.worker(x) // it comes again
}

// When a worker's node closes, its remote links end, but no connections of other workers.
func TestShadowsOfNodeThatCloses(t *testing.T) {
	w, x, y, b := shadowed(t)
	c := x.Conn(frontName)
	_, _ = y.RPC(soon(t), frontName, "w", "end")
	reason(t, b, dist.OpExit)
	w.worker(x)
	require.NoError(t, c.Err())
}

// A Handler that closes the way that a message came over, from a peer of another worker, closes the
// peer's connection.
func TestHandlerClosesShadow(t *testing.T) {
	w, x, y, b := shadowed(t)
	for range 5 {
		joe, closer := w.start(y, ""), w.rpc(y, "closer").(ei.Pid)
		require.NoError(t, b.Link(soon(t), joe))
		of(x.Call(soon(t), joe, ei.Atom("pid"))).must(t) // joe has heard of the link
		c := x.Conn(frontName)
		require.NoError(t, b.Send(soon(t), closer, ei.Atom("close")))
		_, why := reason(t, b, dist.OpExit)
		require.Equal(t, noconnection, why)
		<-c.Done()
		w.worker(x)
	}
}

// A caller in another worker counts as one on this node, as a caller in the same worker does.
func TestConnOfCallerInAnotherWorker(t *testing.T) {
	w, x, y, _ := shadowed(t)
	behind := w.rpc(y, "behind").(ei.Pid)
	for _, from := range []*nodes.Node{y, x} {
		there := w.start(from, "")
		v := of(from.Call(soon(t), there, ei.Tuple{ei.Atom("call"), behind, ei.Atom("who")})).must(t)
		require.Equal(t, ei.Atom("none"), v)
	}
	require.Equal(t, ei.Atom(x.Name()), of(x.Call(soon(t), behind, ei.Atom("who"))).must(t))
}
