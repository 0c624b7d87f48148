package patience

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// inLine waits until n callers wait for their turn, beside the one that has it.
func inLine(tb testing.TB, turn *Turns, n int) {
	tb.Helper()
	require.Eventually(tb, func() bool { return turn.Callers() == n+1 }, expect.Limit, time.Millisecond)
}

// Callers get their turn in the order in which they came; a caller that gives up leaves no gap.
func TestTurnsInOrder(t *testing.T) {
	var turn Turns
	ctx := context.Background()
	require.NoError(t, turn.Take(ctx))
	require.False(t, turn.Try())
	impatient, giveUp := context.WithCancel(ctx)
	came := make(chan int, 10)
	failed := make(chan error, 10)
	for i := range 5 {
		mine := ctx
		if i%2 == 1 {
			mine = impatient
		}
		go func() {
			if err := turn.Take(mine); err != nil {
				failed <- err
				return
			}
			came <- i
			turn.Pass()
		}()
		inLine(t, &turn, i+1)
	}
	giveUp()
	for range 2 {
		require.ErrorIs(t, <-failed, context.Canceled)
	}
	inLine(t, &turn, 3)
	turn.Pass()
	for _, want := range []int{0, 2, 4} {
		require.Equal(t, want, <-came)
	}
	require.Eventually(t, turn.Try, expect.Limit, time.Millisecond)
	turn.Pass()
}

// Only one caller at a time has the turn, whichever callers give up, and whenever.
func TestTurnsOneAtATime(t *testing.T) {
	var turn Turns
	var wg sync.WaitGroup
	inside, n := 0, 0
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5)*10*time.Microsecond)
				if i%3 == 0 && turn.Try() || i%3 != 0 && turn.Take(ctx) == nil {
					inside++
					require.Equal(t, 1, inside)
					n++
					inside--
					turn.Pass()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.Positive(t, n)
	require.True(t, turn.Try(), "nobody has it any more")
}
