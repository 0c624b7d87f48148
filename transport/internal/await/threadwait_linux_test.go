package await

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// blocks makes a reader wait on its own thread, as a series of short waits does.
func (y *tallied) blocks(t testing.TB) {
	t.Helper()
	y.s.In.thread.formed = true
}

// thread is where the reader waits on its own thread; nil: it does not.
func (y *tallied) thread() *threadWait {
	w := y.s.watch.(*watcher)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reader.thread
}

// undisturbed keeps sweep from ending waits on threads: on a busy machine a sweep that comes late
// would disturb a test.
func undisturbed(t testing.TB, p *Policy) {
	t.Helper()
	at := &p.threads
	at.mu.Lock()
	defer at.mu.Unlock()
	require.Nil(t, at.sweeper)
	at.sweeps, at.sweeper = true, time.AfterFunc(time.Hour, at.sweep)
	t.Cleanup(at.sweep) // from here on sweep runs as usual, and closes the places
}

// closed returns a channel that is closed once is returns true.
func closed(t testing.TB, is func() bool) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		for !is() {
			if t.Context().Err() != nil {
				return
			}
			time.Sleep(20 * time.Microsecond)
		}
		close(done)
	}()
	return done
}

// threadsOf counts the thread waits of a policy.
func threadsOf(p *Policy) int {
	p.threads.mu.Lock()
	defer p.threads.mu.Unlock()
	return len(p.threads.all)
}

// Nobody blocks a thread when waits are to end.
func TestThreadWaitHalted(t *testing.T) {
	p := new(Policy)
	undisturbed(t, p)
	y := newTallied(t, p)
	w := y.s.watch.(*watcher)
	require.NoError(t, w.halt(false, true))
	blocks := expect.Aside(func() error { w.block(false, &p.threads); return nil })
	require.NoError(t, expect.Returns(t, blocks))
}

// A reader whose waits have been short for some time blocks its thread: the Go poller looks away,
// and there is one try before the wait and one after it.
func TestThreadWaitPingPong(t *testing.T) {
	processors(t, 2)
	y := newTallied(t, new(Policy))
	answer := make(chan struct{}, 1)
	defer close(answer)
	go func() {
		for range answer {
			y.says(t, []byte("a"))
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 10_000 {
		y.ask(t)
		y.atVain(1, func() { answer <- struct{}{} })
		require.NoError(t, expect.Err(y.read(ctx)))
		if y.s.In.thread.formed && y.s.watch.(*watcher).reader.events == 0 {
			break
		}
	}
	require.True(t, y.s.In.thread.formed)
	require.Zero(t, y.s.watch.(*watcher).reader.events, "the Go poller was not told to look away")
	require.Zero(t, y.policy.busy.Load())
}

// A reader to whom nothing comes blocks its thread for a short time only; what comes later wakes it
// all the same. An unused place is closed.
func TestThreadOfIdleReaderIsLeft(t *testing.T) {
	y := limited(t, 0)
	y.blocks(t)
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	require.Zero(t, y.policy.busy.Load())
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, reading))
	require.False(t, y.s.In.thread.formed)
	expect.Returns(t, closed(t, func() bool { return threadsOf(y.policy) == 0 }))
}

// A reader that has to wait longer again and again leaves the threads to others.
func TestThreadWaitCools(t *testing.T) {
	r := Reader{side: side{policy: new(Policy)}}
	wait := func(d time.Duration) {
		r.traffic.begin()
		r.began = time.Now().Add(time.Hour - d) // however busy the machine is
		r.end(1)
	}
	for range habitForms {
		wait(0)
	}
	require.True(t, r.thread.formed)
	r.thread = habit{formed: true}
	for range habitEnds - 1 {
		wait(2 * time.Hour)
	}
	wait(0)
	for range habitEnds - 1 {
		wait(2 * time.Hour)
	}
	require.True(t, r.thread.formed)
	wait(2 * time.Hour)
	require.False(t, r.thread.formed)
}

// Where all places are taken a reader sleeps at once.
func TestThreadWaitPlaces(t *testing.T) {
	processors(t, 2)
	y := newTallied(t, new(Policy))
	y.blocks(t)
	require.True(t, y.policy.enter())
	y.ask(t)
	reading := y.parks(context.Background())
	asleep(t, y)
	require.Zero(t, threadsOf(y.policy))
	y.says(t, []byte("x"))
	require.NoError(t, expect.Returns(t, reading))
	y.policy.leave()
}

// An interrupt that was not needed does not end the next wait there.
func TestThreadWaitKickIsNotLeftForNext(t *testing.T) {
	processors(t, 2)
	y := newTallied(t, new(Policy))
	undisturbed(t, y.policy)
	at := &y.policy.threads
	s := at.take()
	at.interrupt(s)
	at.interrupt(s)
	require.False(t, s.wait(y.s.fd, pollArrivals))
	at.leave(s)
	at.interrupt(s) // nobody waits there
	require.Same(t, s, at.take())
	y.says(t, []byte("x"))
	require.True(t, s.wait(y.s.fd, pollArrivals))
	at.leave(s)
}

// A writer blocks its thread, too. Nothing that it writes is lost or repeated.
func TestBlockedWriterLosesNothing(t *testing.T) {
	y := limited(t, 0)
	undisturbed(t, y.policy)
	y.s.Out.thread.formed = true
	const size = 16 << 20
	sat := closed(t, func() bool {
		w := y.s.watch.(*watcher)
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.writer.thread != nil
	})
	drained := expect.Aside(func() error {
		<-sat
		return expect.Err(io.ReadFull(y.peer, make([]byte, size)))
	})
	require.NoError(t, expect.Err(y.s.Writev(soon(t), make([]byte, size))))
	require.NoError(t, expect.Returns(t, drained))
}

// A counted is a context that counts how often it is watched.
type counted struct {
	context.Context
	begun, stopped atomic.Int32
}

func (c *counted) AfterFunc(f func()) func() bool {
	c.begun.Add(1)
	stop := context.AfterFunc(c.Context, f)
	return func() bool { c.stopped.Add(1); return stop() }
}

func newCounted(t testing.TB) (*counted, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	// Package context knows its own contexts by their values, which would go round AfterFunc.
	return &counted{Context: opaque{ctx}}, cancel
}

type opaque struct{ context.Context }

func (opaque) Value(any) any { return nil }

// After some waits a context is watched once for many; another context takes its place, and Close
// stops the watching.
func TestWaitsWatchOnce(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		y := limited(t, 0)
		first, cancel := newCounted(t)
		second, end := newCounted(t)
		wait := func(ctx context.Context) {
			y.s.In.thread = habit{formed: blocks}
			y.ask(t)
			y.atVain(2, func() { y.says(t, []byte("a")) })
			require.NoError(t, expect.Err(y.read(ctx)))
		}
		for i := range keepsAfter - 1 {
			wait(first)
			require.EqualValues(t, i+1, first.stopped.Load(), "it may have been for this wait only")
		}
		for range 5 {
			wait(first)
		}
		require.EqualValues(t, keepsAfter, first.begun.Load())
		require.EqualValues(t, keepsAfter-1, first.stopped.Load())
		wait(second)
		require.EqualValues(t, keepsAfter, first.stopped.Load())
		cancel() // ends nothing
		for range keepsAfter {
			wait(second)
		}
		require.EqualValues(t, keepsAfter, second.begun.Load())
		y.ask(t)
		reading := y.parks(second)
		asleep(t, y)
		end()
		require.ErrorIs(t, expect.Returns(t, reading), context.Canceled)
		third, _ := newCounted(t)
		for range keepsAfter {
			wait(third)
		}
		require.EqualValues(t, keepsAfter-1, third.stopped.Load())
		require.NoError(t, y.s.Close())
		require.EqualValues(t, keepsAfter, third.stopped.Load())
	}
}
