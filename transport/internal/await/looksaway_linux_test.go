package await

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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
		written := aside(func() error { _, err := c.Writev(soon(t), much); return err })
		require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
		_, err := s.Readv(soon(t), make([]byte, len(much)))
		require.NoError(t, err)
		require.NoError(t, returns(t, written))
		require.False(t, w.looks(true))
	}
	ctx, cancel := context.WithCancel(t.Context())
	written := aside(func() error { _, err := c.Writev(ctx, much); return err })
	require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
	cancel()
	require.ErrorIs(t, returns(t, written), context.Canceled)
	require.False(t, w.looks(true))
}

// waiterOf returns a Waiter of a connected socket, that socket, and the one at the other end; the
// Waiter is closed with the test.
func waiterOf(t testing.TB) (waiter *Waiter, here, there int) {
	t.Helper()
	c, s := lines(t, NewPolicy(0))
	here, there = c.fd, s.fd
	waiter, err := NewWaiter(here, NewPolicy(0))
	require.NoError(t, err)
	t.Cleanup(func() { _ = waiter.Close() })
	return waiter, here, there
}

// The Go poller looks away after a Waiter's Write and Accept, too.
func TestWaiterLooksAway(t *testing.T) {
	waiter, here, there := waiterOf(t)
	w := waiter.pair.watch.(*watcher)
	all := func(call func(int, []byte) (int, error), fd int) {
		var err error
		for p := make([]byte, 64<<10); err != unix.EAGAIN; {
			_, err = call(fd, p)
		}
	}
	waits := func(writing bool, wait func(func() bool) error, call func(int, []byte) (int, error)) <-chan error {
		p := make([]byte, 1)
		result := aside(func() error { return wait(func() bool { _, err := call(here, p); return err != unix.EAGAIN }) })
		require.Eventually(t, func() bool { return w.looks(writing) }, tooLong, time.Millisecond)
		return result
	}
	for range 3 {
		result := waits(false, waiter.Accept, unix.Read)
		_, err := unix.Write(there, []byte("x"))
		require.NoError(t, err)
		require.NoError(t, returns(t, result))
		require.False(t, w.looks(false))

		result = waits(false, waiter.Accept, unix.Read)
		require.NoError(t, waiter.SetReadDeadline(Past))
		require.ErrorIs(t, returns(t, result), os.ErrDeadlineExceeded)
		require.False(t, w.looks(false))
		require.NoError(t, waiter.SetReadDeadline(time.Time{}))

		all(unix.Write, here)
		result = waits(true, waiter.Write, unix.Write)
		all(unix.Read, there)
		require.NoError(t, returns(t, result))
		require.False(t, w.looks(true))
		all(unix.Read, there)
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
		written := aside(func() error { _, err := c.Writev(context.Background(), much); return err })
		require.Eventually(t, func() bool { return w.looks(true) }, tooLong, time.Millisecond)
		_, err := s.Readv(soon(t), make([]byte, len(much)))
		require.NoError(t, err)
		require.NoError(t, returns(t, written))

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
		written = aside(func() error { _, err := c.Writev(context.Background(), much); return err })
		want := returns(t, before) + 1
		require.Eventually(t, func() bool { return tries.Load() >= want }, tooLong, 100*time.Microsecond)
		_, err = s.Readv(soon(t), make([]byte, len(much)-drained))
		require.NoError(t, err)
		require.NoError(t, returns(t, written))

		answer := func() {
			_, _ = unix.Write(s.fd, []byte("x"))
			for !comes(unix.POLLIN, -1) { // interrupted
			}
		}
		meanwhile.Store(&answer)
		got := aside(func() error { _, err := c.Readv(context.Background(), make([]byte, 1)); return err })
		require.NoError(t, returns(t, got))
	}
}

// A Waiter's Accept tries once more, too.
func TestWaiterTriesBeforeSleeping(t *testing.T) {
	waiter, here, there := waiterOf(t)
	w, p := waiter.pair.watch.(*watcher), make([]byte, 1)
	for range 3 {
		result := aside(func() error { return waiter.Accept(func() bool { _, err := unix.Read(here, p); return err == nil }) })
		require.Eventually(t, func() bool { return w.looks(false) }, tooLong, time.Millisecond)
		_, err := unix.Write(there, []byte("x"))
		require.NoError(t, err)
		require.NoError(t, returns(t, result))

		came := false
		result = aside(func() error {
			return waiter.Accept(func() bool {
				_, err := unix.Read(here, p)
				if err == unix.EAGAIN && !came {
					_, err := unix.Write(there, []byte("x"))
					came = err == nil
				}
				return err == nil
			})
		})
		require.NoError(t, returns(t, result))
	}
}

// An idle Waiter keeps no reference to the last try, whose closure holds a buffer.
func TestWaiterLetsGo(t *testing.T) {
	waiter, here, there := waiterOf(t)
	_, err := unix.Write(there, []byte("x"))
	require.NoError(t, err)
	p := make([]byte, 1)
	require.NoError(t, waiter.Accept(func() bool { _, err := unix.Read(here, p); return err != unix.EAGAIN }))
	require.NoError(t, waiter.Write(func() bool { _, err := unix.Write(here, p); return err != unix.EAGAIN }))
	require.Nil(t, waiter.accept)
	require.Nil(t, waiter.pair.In.plain)
	require.Nil(t, waiter.pair.Out.try)
}
