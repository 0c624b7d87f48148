package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A handshake that is refused leaves nothing behind: neither its place, nor its context as a child
// of the node's.
func TestRefusedHandshakeLeavesNothing(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice")
	o := n.admit(n.ctx, w.tr, w.wire(n.Listeners()[0]).S)
	o.refuse()
	require.Error(t, o.Ctx.Err())
	require.Eventually(t, func() bool { // the listener's handshake with the other end is over, too
		return n.openings.Len() == 0 && n.shaking.None()
	}, tooLong, tick)
}
