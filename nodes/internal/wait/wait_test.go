package wait

import (
	"context"
	"os"
	"sync"
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

func TestBellWakesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var b Bell
		require.False(t, b.Awaited())
		b.Ring() // no goroutine waits, and none that comes later hears this ring
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				mu.Lock()
				next := b.Next()
				mu.Unlock()
				<-next
			})
		}
		synctest.Wait()
		mu.Lock()
		require.True(t, b.Awaited())
		b.Ring()
		require.False(t, b.Awaited())
		mu.Unlock()
		all.Wait()
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		require.NoError(t, g.Pass(transport.NoWait()))
		require.True(t, g.Shut())
		require.False(t, g.Shut(), "for the second time")
		require.True(t, g.IsShut())
		require.ErrorIs(t, g.Pass(transport.NoWait()), os.ErrDeadlineExceeded)
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, g.Pass(brief), context.DeadlineExceeded)

		passed := make(chan error, 1)
		go func() { passed <- g.Pass(t.Context()) }()
		synctest.Wait()
		require.True(t, g.Awaited())
		shut, change := g.State()
		require.True(t, shut)
		require.Empty(t, passed)
		g.Open()
		<-change // a goroutine that waits for the channel itself is woken
		require.NoError(t, <-passed)
		require.False(t, g.IsShut())
	})
}

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

func TestTallyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var y Tally
		proceed := make(chan struct{})
		y.Run(func() { <-proceed })
		require.False(t, y.None(), "counted before it begins")
		close(proceed)
		require.NoError(t, y.Wait(t.Context()))
	})
}

func TestPausable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var p Pausable
		require.True(t, p.Begin())
		require.True(t, p.Runs())
		turn := p.Context()
		require.NoError(t, turn.Err())

		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.Pause(brief, &mu), context.DeadlineExceeded)
		require.True(t, p.Halted(), "whatever became of the wait")
		require.ErrorIs(t, turn.Err(), context.Canceled, "it is cut short")

		paused := make(chan error, 1)
		go func() { paused <- p.Pause(t.Context(), &mu) }()
		synctest.Wait()
		require.Empty(t, paused, "the turn is not over")
		mu.Lock()
		p.Done()
		mu.Unlock()
		require.NoError(t, <-paused)
		require.False(t, p.Runs())
		require.False(t, p.Begin())

		mu.Lock()
		changed := p.Changed.Next()
		p.Resume()
		mu.Unlock()
		<-changed
		require.True(t, p.Begin())
		p.Done()
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
