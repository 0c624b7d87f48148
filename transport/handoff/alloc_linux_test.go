package handoff

import (
	"context"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// Sending and receiving allocate nothing, whether or not there are descriptors.
func TestMessageAllocations(t *testing.T) {
	race.Allocates(t)
	ctx := context.Background()
	eachPair(t, kinds, func(t *testing.T, _ int, a, b *Conn) {
		f := fdtest.File(t, "f")
		p := make([]byte, 64)
		var set FDSet
		require.Zero(t, testing.AllocsPerRun(200, func() {
			require.NoError(t, a.Send(ctx, p, f))
			require.NoError(t, expect.Err(b.Receive(ctx, p, &set, 1)))
			require.NoError(t, set.Close())
			require.NoError(t, a.Send(ctx, p))
			require.NoError(t, expect.Err(b.Receive(ctx, p, nil, 0)))
			require.Equal(t, len(p), expect.NoError(a.TrySend(p, f, f)).In(t))
			require.NoError(t, expect.Err(b.Receive(ctx, p, &set, 2)))
			require.NoError(t, set.Close())
		}))
	})
}

// Calls that wait under a context that cannot be cancelled allocate nothing either.
func TestWaitingAllocations(t *testing.T) {
	race.Allocates(t)
	ctx := context.Background()
	a, b := connPair(t, unix.SOCK_STREAM)
	much, rest := make([]byte, 1<<20), make([]byte, 1<<20)
	begin, over := make(chan bool), make(chan error)
	defer close(begin)
	go func() {
		for range begin {
			time.Sleep(100 * time.Microsecond)
			err := b.Send(ctx, much[:1])
			for n, got := 0, 0; err == nil && got < len(much); got += n {
				n, err = b.Receive(ctx, rest, nil, 0)
			}
			over <- err
		}
	}()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		begin <- true
		require.NoError(t, expect.Err(a.Receive(ctx, much, nil, 0)))
		require.NoError(t, a.Send(ctx, much))
		require.NoError(t, <-over)
	}))
}
