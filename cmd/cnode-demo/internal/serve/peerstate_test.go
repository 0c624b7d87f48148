package serve

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A hand-off that comes to nothing leaves nothing waiting: lanes begin and end as before.
func TestPeerHandoverComesToNothing(t *testing.T) {
	p := &peer{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10_000 {
		require.True(t, p.begin())
		_, err := p.handover(ended)
		require.ErrorIs(t, err, context.Canceled)
		p.finish()
		require.True(t, p.begin())
		p.finish()
	}
	require.True(t, p.begin())
	time.AfterFunc(time.Millisecond, p.finish)
	_, err := p.handover(t.Context())
	require.NoError(t, err)
}
