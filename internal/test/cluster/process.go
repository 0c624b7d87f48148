package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

// Mailbox makes a process of a node, with options or nil.
func Mailbox(t testing.TB, n *nodes.Node, o *nodes.MailboxOptions) *nodes.Mailbox {
	t.Helper()
	b, err := n.NewMailbox(o)
	require.NoError(t, err)
	return b
}

// Receive gives the term of the next message.
func Receive(t testing.TB, b *nodes.Mailbox) ei.Term {
	t.Helper()
	m, err := b.Receive(expect.Context(t))
	require.NoError(t, err)
	v, err := m.Term()
	require.NoError(t, err)
	return v
}
