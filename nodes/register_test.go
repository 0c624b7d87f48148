package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// Once a process is seen to have ended its name is free, as after a DOWN in Erlang.
func TestNameIsFreeOnceDone(t *testing.T) {
	n := newWorld(t, "memory").node("a")
	for range 500 {
		b, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, n.Register(t.Context(), "name", b))
		go b.Exit(ei.Atom("over"))
		<-b.Done()
		next, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, n.Register(t.Context(), "name", next))
		require.ErrorIs(t, n.Register(t.Context(), "other", b), ErrClosed)
		next.Exit(ei.Atom("over"))
		require.Nil(t, n.Whereis("name"))
	}
}

// Erlang registers nobody under these.
func TestRegisterNoName(t *testing.T) {
	n := newWorld(t, "memory").node("a")
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	require.ErrorContains(t, n.Register(t.Context(), "", b), "empty")
	require.ErrorContains(t, n.Register(t.Context(), "undefined", b), "whereis")
	require.ErrorContains(t, n.Register(t.Context(), "joe", nil), "nil")
	require.Nil(t, n.Whereis("undefined"))
}

// The name of the calling node, given by mistake.
func TestRPCToOneself(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.node("a")
	_, err := n.RPC(w.ctx(), n.Name(), "erlang", "date")
	require.ErrorIs(t, err, ErrNoProc)
	require.ErrorContains(t, err, "has not been started")
}
