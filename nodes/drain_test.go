package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Everybody who waits for the last function hears of its end.
func TestTallyForSeveral(t *testing.T) {
	y := newTally()
	y.enter()
	short, cancel := context.WithCancel(context.Background())
	quitter := async(func() (any, error) { return nil, y.wait(short) })
	var waits []<-chan result[any]
	for range 3 {
		waits = append(waits, async(func() (any, error) { return nil, y.wait(context.Background()) }))
	}
	require.Eventually(t, func() bool { return y.waiting.Load() == 4 }, tooLong, tick)
	cancel()
	require.ErrorIs(t, arrives(t, quitter, "the end of who gave up").err, context.Canceled)
	y.leave()
	for _, c := range waits {
		require.NoError(t, arrives(t, c, "the end of a wait").err)
	}
	require.Zero(t, y.waiting.Load())
}
