package bind10

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/race"
)

// A session allocates its two addresses.
func TestSessionAllocations(t *testing.T) {
	race.Allocates(t)
	f, r := sessions(t, nil)
	fd, h := v4(t)
	var s Session
	ctx := context.Background()
	data := make([]byte, 1000)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		require.NoError(t, f.Push(fd, h, data))
		require.NoError(t, r.Receive(ctx, &s))
	}), 2.0)
	require.NoError(t, s.Close())
}
