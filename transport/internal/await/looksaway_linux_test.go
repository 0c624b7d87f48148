package await

import (
	"context"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// looks reports whether the Go poller would wake up for a direction.
func (w *watcher) looks(writing bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := w.of(writing)
	return i.events != 0
}

// The Go poller looks away once a writer has had its room, or has given up: over a UNIX socket all
// that the peer reads would wake it. It looks again when a writer waits again.
func TestLooksAwayFromRoom(t *testing.T) {
	c, s := lines(t, NewPolicy(60*time.Microsecond))
	w, much := c.watch.(*watcher), make([]byte, 16<<20)
	for range 3 {
		written := expect.Aside(func() error { _, err := c.Writev(soon(t), much); return err })
		require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(much)))))
		require.NoError(t, expect.Returns(t, written))
		require.False(t, w.looks(true))
	}
	ctx, cancel := context.WithCancel(t.Context())
	written := expect.Aside(func() error { _, err := c.Writev(ctx, much); return err })
	require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
	cancel()
	require.ErrorIs(t, expect.Returns(t, written), context.Canceled)
	require.False(t, w.looks(true))
}

// pairOf returns a Pair of a connected socket, that socket, and the one at the other end; the Pair
// is closed with the test.
func pairOf(t testing.TB) (pair *Pair, here, there int) {
	t.Helper()
	c, s := lines(t, NewPolicy(0))
	here, there = c.fd, s.fd
	pair = expect.NoError(New(here, NewPolicy(0), true, false)).In(t)
	t.Cleanup(pair.Close)
	return pair, here, there
}

// The Go poller looks away after a Wait, too.
func TestWaitLooksAway(t *testing.T) {
	pair, here, there := pairOf(t)
	w := pair.watch.(*watcher)
	waits := func(ctx context.Context) <-chan error {
		p := make([]byte, 1)
		result := expect.Aside(func() error {
			return pair.In.Wait(ctx, func(uintptr) bool { _, err := unix.Read(here, p); return err != unix.EAGAIN })
		})
		require.Eventually(t, func() bool { return w.looks(false) }, tooLong, time.Millisecond)
		return result
	}
	for range 3 {
		result := waits(t.Context())
		require.NoError(t, expect.Err(unix.Write(there, []byte("x"))))
		require.NoError(t, expect.Returns(t, result))
		require.False(t, w.looks(false))

		ctx, cancel := context.WithCancel(t.Context())
		result = waits(ctx)
		cancel()
		require.ErrorIs(t, expect.Returns(t, result), context.Canceled)
		require.False(t, w.looks(false))
	}
}

// Close waits for a try that is running; later waits are os.ErrClosed.
func TestPairClose(t *testing.T) {
	pair, _, _ := pairOf(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	tried := expect.Aside(func() error {
		return pair.In.Wait(context.Background(), func(uintptr) bool { close(begun); <-goOn; return true })
	})
	<-begun
	closed := expect.Aside(func() error { pair.Close(); return nil })
	for range 100 {
		runtime.Gosched()
	}
	require.Empty(t, closed)
	close(goOn)
	require.NoError(t, expect.Returns(t, tried))
	require.NoError(t, expect.Returns(t, closed))
	require.ErrorIs(t, pair.In.Wait(context.Background(), func(uintptr) bool { return false }), os.ErrClosed)
	require.ErrorIs(t, pair.Out.Do(context.Background(), func() bool { return false }), os.ErrClosed)
}

// A descriptor that cannot be waited on is refused.
func TestPairRefuses(t *testing.T) {
	f := expect.Open(os.Open("pair.go")).In(t)
	require.ErrorAs(t, expect.Err(New(int(f.Fd()), NewPolicy(0), true, false)), new(*NotWaitableError))
	for _, none := range []int{-1, math.MaxInt32} {
		require.ErrorIs(t, expect.Err(New(none, NewPolicy(0), true, false)), unix.EBADF)
	}
}

// What comes between a try and the moment when the Go poller looks again wakes no thread, nor does
// room: so there is one more try.
func TestTriesBeforeSleeping(t *testing.T) {
	c, s := lines(t, NewPolicy(0))
	var meanwhile atomic.Pointer[func()] // runs once, inside of the next try that finds nothing
	var tries atomic.Int32
	c.tried = func(err error) {
		tries.Add(1)
		if err == unix.EAGAIN {
			if f := meanwhile.Swap(nil); f != nil {
				(*f)()
			}
		}
	}
	w, much := c.watch.(*watcher), make([]byte, 16<<20)
	comes := func(events int16, milliseconds int) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, milliseconds)
		return n > 0
	}
	for range 3 {
		written := expect.Aside(func() error { _, err := c.Writev(context.Background(), much); return err })
		require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(much)))))
		require.NoError(t, expect.Returns(t, written))

		drained, before := 0, make(chan int32, 1)
		drain := func() {
			p := make([]byte, 64<<10)
			for !comes(unix.POLLOUT, 0) {
				if n, err := unix.Read(s.fd, p); err == nil {
					drained += n
				}
			}
			before <- tries.Load()
		}
		meanwhile.Store(&drain)
		written = expect.Aside(func() error { _, err := c.Writev(context.Background(), much); return err })
		want := expect.Returns(t, before) + 1
		require.Eventually(t, func() bool { return tries.Load() >= want }, tooLong, 100*time.Microsecond)
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, len(much)-drained))))
		require.NoError(t, expect.Returns(t, written))

		answer := func() {
			_, _ = unix.Write(s.fd, []byte("x"))
			for !comes(unix.POLLIN, -1) { // interrupted
			}
		}
		meanwhile.Store(&answer)
		got := expect.Aside(func() error { _, err := c.Readv(context.Background(), make([]byte, 1)); return err })
		require.NoError(t, expect.Returns(t, got))
	}
}

// A Wait tries once more, too.
func TestWaitTriesBeforeSleeping(t *testing.T) {
	pair, here, there := pairOf(t)
	w, p := pair.watch.(*watcher), make([]byte, 1)
	wait := func(try func() bool) <-chan error {
		return expect.Aside(func() error { return pair.In.Wait(context.Background(), func(uintptr) bool { return try() }) })
	}
	for range 3 {
		result := wait(func() bool { _, err := unix.Read(here, p); return err == nil })
		require.Eventually(t, func() bool { return w.looks(false) }, tooLong, time.Millisecond)
		require.NoError(t, expect.Err(unix.Write(there, []byte("x"))))
		require.NoError(t, expect.Returns(t, result))

		came := false
		require.NoError(t, expect.Returns(t, wait(func() bool {
			_, err := unix.Read(here, p)
			if err == unix.EAGAIN && !came {
				_, err := unix.Write(there, []byte("x"))
				came = err == nil
			}
			return err == nil
		})))
	}
}

// An idle Pair keeps no reference to the last try, whose closure holds a buffer.
func TestPairLetsGo(t *testing.T) {
	pair, here, there := pairOf(t)
	require.NoError(t, expect.Err(unix.Write(there, []byte("x"))))
	p := make([]byte, 1)
	require.NoError(t, pair.In.Wait(context.Background(), func(uintptr) bool { _, err := unix.Read(here, p); return err != unix.EAGAIN }))
	require.NoError(t, pair.Out.Do(context.Background(), func() bool { _, err := unix.Write(here, p); return err != unix.EAGAIN }))
	require.Nil(t, pair.In.plain)
	require.Nil(t, pair.Out.try)
}
