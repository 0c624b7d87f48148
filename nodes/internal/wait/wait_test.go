package wait

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// The tests run in synctest bubbles: a test fails if one of its goroutines waits for ever, and time
// costs nothing.

// All goroutines in Wait return when the last function ends.
func TestTallyForSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var y Tally
		require.True(t, y.None())
		require.NoError(t, y.Wait(t.Context()))
		require.False(t, y.Join(), "nobody is there")
		y.Enter()
		require.True(t, y.Join())
		short, cancel := context.WithCancel(t.Context())
		quits := make(chan error, 1)
		go func() { quits <- y.Wait(short) }()
		ends := make(chan error, 3)
		for range cap(ends) {
			go func() { ends <- y.Wait(t.Context()) }()
		}
		synctest.Wait()
		require.EqualValues(t, 4, y.waiting.Load())
		cancel()
		require.ErrorIs(t, <-quits, context.Canceled)
		y.Leave()
		require.EqualValues(t, 1, y.Count())
		synctest.Wait()
		require.Empty(t, ends)
		y.Leave()
		for range cap(ends) {
			require.NoError(t, <-ends)
		}
		require.False(t, y.Awaited())
	})
}

func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-Cancelled(transport.NoWait())
		require.ErrorIs(t, Err(transport.NoWait()), os.ErrDeadlineExceeded)
		require.ErrorIs(t, TakesTime(transport.NoWait()), os.ErrDeadlineExceeded)
		ending := Ending(transport.NoWait())
		<-ending.Done()
		require.ErrorIs(t, ending.Err(), os.ErrDeadlineExceeded)
		below, cancel := context.WithTimeout(ending, time.Hour)
		defer cancel()
		require.ErrorIs(t, below.Err(), os.ErrDeadlineExceeded)

		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, TakesTime(ctx))
		require.Equal(t, ctx, Ending(ctx))
		began := time.Now()
		require.NoError(t, Sleep(ctx, time.Hour))
		require.Equal(t, time.Hour, time.Since(began))
		cancel()
		<-Cancelled(ctx)
		require.ErrorIs(t, Err(ctx), context.Canceled)
		require.ErrorIs(t, Sleep(ctx, time.Hour), context.Canceled)
	})
}
