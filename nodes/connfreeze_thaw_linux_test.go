package nodes

import (
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/scarce"
)

// A hand-off that fails leaves a node as it was: idle connections have one descriptor for waiting
// each, however often it fails.
func TestThawLeavesNothing(t *testing.T) {
	// with the staged ones fewer than the readers of which those that sleep for long sleep together
	const count = 5
	w := newWorld(t, "tcp")
	n := w.started("front")
	before := leak.Polls()
	for i := range count {
		connect(t, w.started("peer"+strconv.Itoa(i)), "front@test")
	}
	idle := func() bool { return leak.Polls()-before == 2*count } // both ends sleep
	require.Eventually(t, idle, tooLong, tick)
	for range 3 {
		f := freeze(t, n)
		s := restore(t, again(n), f)
		require.NoError(t, s.Discard())
		f.Thaw()
		require.Eventually(t, idle, tooLong, tick, "more than one a connection")
	}
	moved := upgrade(t, n)
	require.Eventually(t, func() bool { return leak.Polls()-before <= count+2 }, tooLong, tick,
		"one of those that have moved is the listener's, and the connections have one together")
	require.Len(t, moved.Peers(), count)
}

// A Detach for which there is no descriptor left fails, and the connection goes on.
func TestDetachWithoutDescriptors(t *testing.T) {
	w := newWorld(t, "tcp")
	there := box(t, w.started("peer"))
	r := w.shuttle("peer@test", true)
	settle(t, box(t, r.n[0]), there)
	enough := scarce.Descriptors(t, 4)
	_, err := r.c.Detach(w.ctx())
	enough()
	require.ErrorIs(t, err, syscall.EMFILE)
	settle(t, box(t, r.n[0]), there)
	r.move()
}
