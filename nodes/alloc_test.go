//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/test/race"
)

// SendRaw allocates nothing, nor does ReceiveInto into a message whose buffer is large enough. What
// a plug-in allocates is its own affair: TCP does not.
func TestSendReceiveAllocations(t *testing.T) {
	race.Allocates(t)
	ca, cb := newWorld(t, "tcp").pair()
	ctx := context.Background()
	var in, out int
	for _, measured := range []bool{false, true} {
		if measured {
			cb.n.Measure(&metrics.Hooks{MessageIn: func(*metrics.Conn, int) { in++ }})
			ca.n.Measure(&metrics.Hooks{MessageOut: func(*metrics.Conn, int) { out++ }})
		}
		payload, to := ei.AppendInt(nil, 7), cb.Self()
		var m Message
		require.Zero(t, testing.AllocsPerRun(500, func() {
			require.NoError(t, ca.SendRaw(ctx, to, payload))
			require.NoError(t, cb.ReceiveInto(ctx, &m))
		}), "measured: %v", measured)
	}
	require.Equal(t, []int{501, 501}, []int{in, out})
}

// A call costs no allocation for its measurement if nobody measures.
func TestUnmeasuredCallAllocations(t *testing.T) {
	race.Allocates(t)
	n := newWorld(t, "tcp").node("alice")
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	ctx := (&turn{}).within(context.Background())
	request := any(rexCall{Module: "m", Function: "f"})
	require.Zero(t, testing.AllocsPerRun(500, func() {
		ctx, r := b.measureServer(ctx, nil, "call")
		defer r.endUnreturned()
		r.endReturned(nil)
		ctx, r = n.measureFunction(ctx, nil, function{"m", "f"}, nil)
		r.endApplied(metrics.OK, nil)
		_, r = n.measureCall(ctx, target{name: "rex"}, request)
		r.endCall(ei.Cursor{}, nil)
	}))
}
