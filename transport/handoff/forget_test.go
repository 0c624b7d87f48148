//go:build unix

package handoff

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// The state of a hand-off that has failed does not stay in the new owner's memory: Stage's slice is
// zeroed.
func TestStateForgotten(t *testing.T) {
	for _, size := range []int{100, 3 * chunkSize, longState + 1} {
		for _, step := range []string{stepStage, stepCommit} {
			x := newThing(t, 1, size)
			o, a := x.offer(), x.acceptance()
			ctx, cancel := context.WithCancel(fdtest.Soon(t))
			defer cancel()
			var reached func(handoffpoint.Point)
			if step == stepStage {
				x.stageErr = errors.New("broken")
			} else {
				reached = func(p handoffpoint.Point) {
					if p == handoffpoint.OwnerOffered {
						cancel() // the old owner does not wait until the state is staged
					}
				}
			}
			var state []byte
			stage := a.Stage
			a.Stage = func(ctx context.Context, p []byte, fds []int) (Staged, error) {
				state = p
				return stage(ctx, p, fds)
			}
			one, other := channels(t)
			gave := make(chan error, 1)
			go func() { _, err := o.Give(handoffpoint.With(ctx, reached), one); gave <- err }()
			taken, err := a.Take(fdtest.Soon(t), other)
			require.Error(t, err)
			require.False(t, taken.Owns)
			require.Error(t, <-gave)
			require.True(t, bytes.Equal(x.blob, x.got))
			require.Equal(t, make([]byte, size), state, step)
		}
	}
}

// A state that came in pieces stays in memory only once, in the slice that gather returns.
func TestPiecesForgotten(t *testing.T) {
	one, other := channels(t)
	state := bytes.Repeat([]byte("secret"), 3*chunkSize/6)
	done := make(chan error, 1)
	go func() {
		done <- (&exchange{ch: one}).chunks(fdtest.Soon(t), kindState, state, handoffpoint.OwnerStateHalf)
	}()
	x := exchange{ch: other}
	got, err := x.gather(fdtest.Soon(t), kindState, len(state), handoffpoint.HeirStateHalf)
	require.NoError(t, <-done)
	require.NoError(t, err)
	require.True(t, bytes.Equal(state, got))
	require.NotContains(t, string(other.buf), "secret")
	small := []byte("secret")
	require.Equal(t, "secret, too", string(appendOnly(small, []byte(", too"), 100)))
	require.Equal(t, make([]byte, len(small)), small)
}
