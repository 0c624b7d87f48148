package handoff

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/test/expect"
)

// tooLong bounds what takes milliseconds unless something is broken.
const tooLong = expect.Limit

// lines waits until n callers wait for their turn.
func (t *turns) lines(tb testing.TB, n int) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return len(t.waiting) == n
	}, tooLong, time.Millisecond)
}

// Callers get their turn in the order in which they came; a caller that gives up leaves no gap.
func TestTurnsInOrder(t *testing.T) {
	var turn turns
	ctx := context.Background()
	require.NoError(t, turn.take(ctx))
	require.False(t, turn.try())
	impatient, giveUp := context.WithCancel(ctx)
	came := make(chan int, 10)
	failed := make(chan error, 10)
	for i := range 5 {
		mine := ctx
		if i%2 == 1 {
			mine = impatient
		}
		go func() {
			if err := turn.take(mine); err != nil {
				failed <- err
				return
			}
			came <- i
			turn.pass()
		}()
		turn.lines(t, i+1)
	}
	giveUp()
	for range 2 {
		require.ErrorIs(t, <-failed, context.Canceled)
	}
	turn.lines(t, 3)
	turn.pass()
	for _, want := range []int{0, 2, 4} {
		require.Equal(t, want, <-came)
	}
	require.Eventually(t, turn.try, tooLong, time.Millisecond)
	turn.pass()
}

// Only one caller at a time has the turn, whichever callers give up, and whenever.
func TestTurnsOneAtATime(t *testing.T) {
	var turn turns
	var wg sync.WaitGroup
	inside, n := 0, 0
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5)*10*time.Microsecond)
				if i%3 == 0 && turn.try() || i%3 != 0 && turn.take(ctx) == nil {
					inside++
					require.Equal(t, 1, inside)
					n++
					inside--
					turn.pass()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.Positive(t, n)
	require.True(t, turn.try(), "nobody has it any more")
}
