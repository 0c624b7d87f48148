package child

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A second process takes the node over from the first, as the parent asks.
func TestMainTakesOver(t *testing.T) {
	h := newHouse(t)
	p := h.start(parented)
	require.Equal(t, p.Process.Pid, h.pid())
	conn := h.n.Conn("child@127.0.0.1")
	next := h.start(parented, variableTakeOver+"=1")
	require.NotEmpty(t, next.ready)
	require.Equal(t, next.Process.Pid, h.pid())
	require.Zero(t, p.ends())
	require.Same(t, conn, h.n.Conn("child@127.0.0.1"), "the connection is the same")
	require.NoError(t, next.in.Close())
	require.Zero(t, next.ends())
	alone := h.start(parented, variableTakeOver+"=1")
	require.Empty(t, alone.ready)
	require.Equal(t, 1, alone.ends(), "there is nobody to take over from")
}
