//go:build unix

package supervisor_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// A process of another node starts a Server here as its child: the two end together, also after a
// move, and while one is there no other takes its place.
func TestExposeStart(t *testing.T) {
	ctx := expect.Context(t)
	w := cluster.Unix(t)
	peer := w.Start(w.Config("peer@host"))
	ended := make(chan string, 10)
	slow := make(chan struct{})
	n := newMover(t, w, func(n *nodes.Node) error {
		return supervisor.ExposeStart(n, "pricing", func() nodes.Server {
			return nodes.Server{Terminate: func(_ context.Context, reason ei.Term) { <-slow; ended <- reason.String() }}
		}, nil)
	})
	parent := func() *nodes.Mailbox {
		b := cluster.Mailbox(t, peer, &nodes.MailboxOptions{TrapExit: true})
		return b
	}
	start := func(b *nodes.Mailbox) (ei.Pid, error) {
		return nodes.RPCAs[ei.Pid](ctx, b, n.Name(), "pricing", "start_link")
	}
	first := parent()
	pid, err := start(first)
	require.NoError(t, err)
	require.Equal(t, pid, n.Whereis("pricing").Pid())

	n.move(t)
	require.Equal(t, pid, n.Whereis("pricing").Pid())
	_, err = start(parent())
	var taken *ei.ReasonError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, ei.Tuple{ei.Atom("already_started"), pid}, taken.Reason)

	first.Exit(ei.Atom("bug")) // and the next start waits until that has taken effect
	second := parent()
	type result struct {
		pid ei.Pid
		err error
	}
	started := make(chan result)
	go func() { pid, err := start(second); started <- result{pid, err} }()
	select { // longer than for a process that has a parent
	case r := <-started:
		require.Fail(t, "the next start waits", "%v", r)
	case <-time.After(5 * time.Second / 2):
	}
	close(slow)
	require.Equal(t, "bug", expect.Returns(t, ended))
	r := expect.Returns(t, started)
	require.NoError(t, r.err)
	require.NotEqual(t, pid, r.pid)
	require.NoError(t, second.SendExit(ctx, r.pid, ei.Atom("shutdown")))
	m, err := second.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, dist.OpExit, m.Op)
	require.Equal(t, "shutdown", expect.Returns(t, ended))

	_, err = n.RPC(ctx, n.Name(), "pricing", "start_link") // by a process that ends with the call
	require.NoError(t, err)
	require.Equal(t, "normal", expect.Returns(t, ended))
	require.NoError(t, n.Close())
}
