//go:build unix

package handoff

import (
	"context"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A new owner whose context ends before the token is there does not become the owner: it discards
// what it staged, the state is zeroed, and the old owner takes the token back.
func TestPatienceEndsBeforeTheToken(t *testing.T) {
	for _, waits := range []bool{false, true} {
		x := newThing(t, 1, 10)
		one, other := channels(t)
		ctx, cancel := context.WithCancel(fdtest.Soon(t))
		defer cancel()
		o, a := x.offer(), x.acceptance()
		a.Deadlines.Take = time.Hour
		stage, left, ready := a.Stage, make(chan struct{}), make(chan struct{})
		var state []byte
		a.Stage = func(ctx context.Context, p []byte, fds []int) (Staged, error) { state = p; return stage(ctx, p, fds) }
		heir := func(p handoffpoint.Point) {
			if p == handoffpoint.HeirWaits {
				close(ready)
				if !waits {
					cancel()
				}
			}
		}
		owner := func(p handoffpoint.Point) {
			if p == handoffpoint.OwnerAccepted {
				<-ready
				cancel()
				select {
				case <-left:
				case <-fdtest.Soon(t).Done():
				}
			}
		}
		var h Handed
		done := make(chan error, 1)
		go func() { var err error; h, err = o.Give(handoffpoint.With(fdtest.Soon(t), owner), one); done <- err }()
		taken, err := a.Take(handoffpoint.With(ctx, heir), other)
		close(left)
		require.ErrorIs(t, err, context.Canceled)
		e := expect.As[*Error](t, err)
		require.Equal(t, stepCommit, e.Step)
		require.False(t, taken.Owns)
		require.Equal(t, make([]byte, 10), state)
		gave := <-done
		require.ErrorIs(t, gave, ErrNotTaken)
		expect.As[*RefusedError](t, gave)
		require.False(t, h.Moved)
		require.Equal(t, []int{1, 0, 0, 1}, []int{x.thawed, x.released, x.started, x.discarded})
	}
}

// A new owner that has staged and gets no token hears why.
func TestOwnerThatDoesNotWait(t *testing.T) {
	x := newThing(t, 1, 10)
	one, other := channels(t)
	ctx, cancel := context.WithCancel(fdtest.Soon(t))
	defer cancel()
	o, a := x.offer(), x.acceptance()
	owner := func(p handoffpoint.Point) {
		if p == handoffpoint.OwnerOffered {
			cancel()
		}
	}
	done := make(chan error, 1)
	go func() { _, err := o.Give(handoffpoint.With(ctx, owner), one); done <- err }()
	taken, err := a.Take(fdtest.Soon(t), other)
	require.False(t, taken.Owns)
	refused := expect.As[*RefusedError](t, err)
	require.Equal(t, stepAccept, refused.Step)
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, []int{1, 0, 0, 1}, []int{x.thawed, x.released, x.started, x.discarded})
}

// A new owner whose context ends once the token is read starts all the same, and reports it.
func TestPatienceEndsWithTheToken(t *testing.T) {
	x := newThing(t, 1, 1)
	one, other := channels(t)
	ctx, cancel := context.WithCancel(fdtest.Soon(t))
	a := x.acceptance()
	x.startHook = func(ctx context.Context) {
		require.NoError(t, ctx.Err())
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
	}
	heir := func(p handoffpoint.Point) {
		if p == handoffpoint.HeirOwns {
			cancel()
		}
	}
	done := make(chan error, 1)
	go func() { _, err := x.offer().Give(fdtest.Soon(t), one); done <- err }()
	require.NoError(t, expect.Err(a.Take(handoffpoint.With(ctx, heir), other)))
	require.NoError(t, <-done)
	require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
}

// An old owner whose context ends once the new one has reported that it runs hears the report;
// without a report it says that there is none.
func TestReportIsHeardThoughPatienceEnds(t *testing.T) {
	for _, reports := range []bool{true, false} {
		x := newThing(t, 1, 1)
		one, other := channels(t)
		ctx, cancel := context.WithCancel(fdtest.Soon(t))
		runs, heard := make(chan struct{}), make(chan struct{})
		o, a := x.offer(), x.acceptance()
		heir := func(p handoffpoint.Point) {
			switch {
			case p == handoffpoint.HeirSaid && reports:
				close(runs)
			case p == handoffpoint.HeirStarted && !reports:
				close(runs)
				<-heard
			}
		}
		owner := func(p handoffpoint.Point) {
			switch p {
			case handoffpoint.OwnerCommitted:
				<-runs
				cancel()
			case handoffpoint.OwnerHeard:
				close(heard)
			}
		}
		took := make(chan error, 1)
		go func() { _, err := a.Take(handoffpoint.With(fdtest.Soon(t), heir), other); took <- err }()
		h, err := o.Give(handoffpoint.With(ctx, owner), one)
		require.True(t, h.Moved)
		if reports {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "has not reported that it runs")
		}
		require.NoError(t, <-took)
		require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
	}
}

// Both processes share the blocking mode of the pipe. A new owner may make the pipe blocking at any
// moment, and that must not make the old owner wait.
func TestTakeBackNeverWaits(t *testing.T) {
	fdtest.NoLeak(t)
	for i := range 2_000 {
		k := expect.NoError(newToken()).In(t)
		written := i%2 == 0
		if written {
			require.NoError(t, k.write())
		}
		raw, err := k.r.SyscallConn()
		require.NoError(t, err)
		other := -1 // the new owner's descriptor, which shares the mode
		require.NoError(t, raw.Control(func(fd uintptr) { other, err = unix.Dup(int(fd)) }))
		require.NoError(t, err)
		begun, over, stopped := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			err := unix.SetNonblock(other, false)
			for close(begun); err == nil; err = unix.SetNonblock(other, false) {
				select {
				case <-over:
					stopped <- nil
					return
				default:
				}
			}
			stopped <- err
		}()
		<-begun
		var back bool
		took := make(chan error, 1)
		go func() {
			var err error
			back, err = k.takeBack()
			took <- err
		}()
		select {
		case err := <-took:
			require.NoError(t, err)
			require.Equal(t, written, back)
		case <-time.After(expect.Limit):
			require.FailNow(t, "it waits", "round %d", i)
		}
		close(over)
		require.NoError(t, <-stopped)
		require.NoError(t, unix.Close(other))
		require.NoError(t, k.close())
	}
}
