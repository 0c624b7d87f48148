//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/test/race"
)

// SendRaw allocates nothing, nor does ReceiveInto into a message whose buffer is large enough. What
// a plug-in allocates is its own affair: TCP does not.
func TestSendReceiveAllocations(t *testing.T) {
	race.Allocates(t)
	ca, cb := newWorld(t, "tcp").pair()
	ctx := context.Background()
	payload, to := ei.AppendInt(nil, 7), cb.Self()
	var m Message
	require.Zero(t, testing.AllocsPerRun(500, func() {
		require.NoError(t, ca.SendRaw(ctx, to, payload))
		require.NoError(t, cb.ReceiveInto(ctx, &m))
	}))
}
