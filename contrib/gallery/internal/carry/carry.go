// Package carry shows for a transport that it carries nodes.
package carry

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// Nodes starts two nodes over a transport, each at an address of its own, and has one call the
// other, with a large message, too, and monitor a process there, until the other node ends.
func Nodes(t *testing.T, tr transport.Transport, listen func() transport.Addr) {
	t.Helper()
	ctx, table := expect.Context(t), nodes.Static{}
	start := func(name string) *nodes.Node {
		n, err := nodes.New(nodes.Config{
			Name: name, Cookie: "secret", Transport: tr, Resolver: table, Listen: listen(),
			Setup: func(n *nodes.Node) error {
				n.Expose("go", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
				return nil
			},
		})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(ctx))
		table[name] = nodes.Endpoint{Addr: n.Listeners()[0].Addr()}
		return n
	}
	a, b := start("a@127.0.0.1"), start("b@127.0.0.1")
	for _, what := range [][]byte{[]byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 1<<20)} {
		got, err := nodes.RPCAs[[]byte](ctx, a, b.Name(), "go", "echo", ei.Binary(what))
		require.NoError(t, err)
		require.True(t, bytes.Equal(what, got))
	}
	watching, err := a.NewMailbox(nil)
	require.NoError(t, err)
	for _, end := range []func(watched *nodes.Mailbox){
		func(watched *nodes.Mailbox) { watched.Exit(ei.Atom("bye")) },
		func(*nodes.Mailbox) { b.Close() },
	} {
		watched, err := b.NewMailbox(nil)
		require.NoError(t, err)
		ref, err := watching.Monitor(ctx, watched.Pid())
		require.NoError(t, err)
		_, err = a.RPC(ctx, b.Name(), "go", "echo", 1) // the monitor is there
		require.NoError(t, err)
		end(watched)
		m, err := watching.Receive(ctx)
		require.NoError(t, err)
		require.Equal(t, dist.OpMonitorPExit, m.Op)
		require.Equal(t, ref, m.Ref)
	}
}
