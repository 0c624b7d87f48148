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
		require.NoError(t, n.Register("name", b))
		go b.Exit(ei.Atom("over"))
		<-b.Done()
		next, err := n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, n.Register("name", next))
		require.ErrorIs(t, n.Register("other", b), ErrClosed)
		next.Exit(ei.Atom("over"))
		require.Nil(t, n.Whereis("name"))
	}
}
