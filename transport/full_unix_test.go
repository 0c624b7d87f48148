//go:build unix

package transport

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// blockingTCP is a FullImpl plug-in without Interrupt over descriptors in blocking mode. Its Write
// and Connect do not look at their time; its Read and Accept wait in poll(2).
func blockingTCP() Callbacks[int] {
	cb := TCPCallbacks()
	cb.Flags = FullImpl
	poll := func(fd int, tmo time.Duration) error {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(tmo/time.Millisecond))
		if err == nil && n == 0 {
			err = unix.EAGAIN
		}
		return err
	}
	accept := cb.Accept
	cb.Accept = func(fd int, tmo time.Duration) (int, Addr, error) {
		if err := poll(fd, tmo); err != nil {
			return -1, nil, err
		}
		return accept(fd, tmo)
	}
	cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
		if err := poll(fd, tmo); err != nil {
			return 0, err
		}
		n, err := unix.Read(fd, p)
		return max(n, 0), err
	}
	cb.Write = func(fd int, p []byte, _ time.Duration) (int, error) {
		n, err := unix.Write(fd, p)
		return max(n, 0), err
	}
	cb.Writev = nil
	return cb
}

// Without Interrupt, a Write and a Connect that outstay their time are ended by shutdown(2). The
// user sees the reason, not what shutdown(2) does to the call.
func TestFullShutdown(t *testing.T) {
	testFullShutdown(t, blockingTCP())
}

// The same for a Write that goes on until all is written, and returns bytes beside the error that
// shutdown(2) causes.
func TestFullShutdownBesideBytes(t *testing.T) {
	cb := blockingTCP()
	write := cb.Write
	cb.Write = func(fd int, p []byte, tmo time.Duration) (n int, err error) {
		for n < len(p) && err == nil {
			var k int
			k, err = write(fd, p[n:], tmo)
			n += k
		}
		return n, err
	}
	testFullShutdown(t, cb)
}

func testFullShutdown(t *testing.T, cb Callbacks[int]) {
	tr := expect.NoError(New(cb, nil)).In(t)
	tr = patient(tr)
	big := make([]byte, 64<<20)
	for name, end := range map[string]func() (context.Context, context.CancelFunc, error){
		"cancelled": func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel, context.Canceled
		},
		"out of time": func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			return ctx, cancel, context.DeadlineExceeded
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, tr, loopback())
			requireWrites(t, c, "before")
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 6))))
			ctx, cancel, want := end()
			defer cancel()
			require.ErrorIs(t, expect.Returns(t, expect.Aside(func() error { _, err := c.Writev(ctx, big); return err })), want)
			require.NoError(t, expect.Returns(t, expect.Aside(c.Close)))

			l := crowded(t, tr, loopback())
			ctx, cancel, want = end()
			defer cancel()
			require.ErrorIs(t, expect.Returns(t, expect.Aside(func() error { _, err := tr.Connect(ctx, l.Addr()); return err })), want)
		})
	}
	t.Run("closed", func(t *testing.T) {
		c, s := pair(t, tr, loopback())
		write := expect.Aside(func() error { _, err := c.Writev(context.Background(), big); return err })
		read := expect.Aside(func() error { _, err := c.Read(context.Background(), make([]byte, 1)); return err })
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
		require.Eventually(t, c.reading.Load, tooLong, 100*time.Microsecond)
		require.NoError(t, expect.Returns(t, expect.Aside(c.Close)))
		require.ErrorIs(t, expect.Returns(t, write), net.ErrClosed)
		require.ErrorIs(t, expect.Returns(t, read), net.ErrClosed)
	})
}

// No shutdown(2) hits a Read that was cancelled, whose slice is soon over, or a Write that says
// itself, a little late, that its time is over.
func TestFullNoShutdown(t *testing.T) {
	cb := blockingTCP()
	write := cb.Write
	var ctx context.Context
	late := true
	cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
		if late {
			late = false
			<-ctx.Done()
			return 0, unix.EAGAIN
		}
		return write(fd, p, tmo)
	}
	c, s := pairOf(t, cb)
	for late { // if the time is over before the write begins, Write is not called
		ctx = within(t, 10*time.Millisecond)
		require.ErrorIs(t, expect.Err(c.Writev(ctx, []byte("x"))), context.DeadlineExceeded)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	require.ErrorIs(t, expect.Err(c.Read(ctx, make([]byte, 1))), context.Canceled)
	for _, way := range [][2]*Stream{{c, s}, {s, c}} {
		require.NoError(t, expect.Err(way[0].Writev(soon(t), []byte("x"))))
		require.NoError(t, expect.Err(way[1].Readv(soon(t), make([]byte, 1))))
	}
}

// A callback that comes back late with EINTR is called again before C is closed, not after that.
func TestComesBackLateInterrupted(t *testing.T) {
	t.Parallel()
	cb := TCPCallbacks()
	release := make(chan struct{})
	var target, reads, closed, after atomic.Int32
	target.Store(-1)
	read, closing := cb.Read, cb.Close
	cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) {
		if int32(fd) != target.Load() {
			return read(fd, p, tmo)
		}
		if reads.Add(1) == 1 {
			<-release
			return 0, syscall.EINTR
		}
		for range 100 { // long enough for Close, if it did not wait
			runtime.Gosched()
			after.Add(closed.Load())
		}
		return read(fd, p, tmo)
	}
	cb.Close = func(fd int) error {
		if target.CompareAndSwap(int32(fd), -1) {
			closed.Store(1)
		}
		return closing(fd)
	}
	c, s := pairOf(t, cb)
	fd := expect.NoError(c.Descriptor()).In(t)
	target.Store(int32(fd))
	got := expect.Aside(func() error { _, err := c.Readv(context.Background(), make([]byte, 1)); return err })
	waiting(t, &reads, 1)
	require.ErrorIs(t, c.Close(), ErrUnresponsive)
	close(release)
	require.Error(t, expect.Returns(t, got))
	waiting(t, &closed, 1)
	require.Zero(t, after.Load(), "C was closed while its callback ran")
	require.NoError(t, s.Close())
}

// An Accept that comes back late by ending its goroutine has brought nothing: the connection
// accepted before is left alone.
func TestFullAcceptGoneLate(t *testing.T) {
	t.Parallel()
	cb := memoryCallbacks()
	cb.Interrupt = func(*memorySocket) {}
	release := make(chan struct{})
	var calls atomic.Int32
	ctx, cancel := context.WithCancel(context.Background())
	accept := cb.Accept
	cb.Accept = func(s *memorySocket, tmo time.Duration) (*memorySocket, Addr, error) {
		if calls.Add(1) == 2 {
			cancel()
			<-release
			runtime.Goexit()
		}
		return accept(s, tmo)
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	l := expect.NoError(tr.Listen(MemoryAddr("x"), 0)).In(t)
	c := expect.NoError(tr.Connect(soon(t), MemoryAddr("x"))).In(t)
	a := expect.NoError(l.Accept(soon(t))).In(t)
	require.ErrorIs(t, expect.Err(l.Accept(ctx)), ErrUnresponsive)
	close(release)
	require.NoError(t, l.Close())
	requireWrites(t, c, "x")
	require.NoError(t, expect.Err(a.Readv(soon(t), make([]byte, 1))))
	require.NoError(t, a.Close())
	require.NoError(t, c.Close())
}

// The options of a descriptor can be set even if the plug-in reads and writes by itself; others
// cannot read or write there.
func TestFullSyscallConn(t *testing.T) {
	tr := expect.NoError(New(blockingTCP(), nil)).In(t)
	c, _ := pair(t, tr, loopback())
	raw := expect.NoError(c.SyscallConn()).In(t)
	fd := expect.NoError(c.Descriptor()).In(t)
	var got int
	require.NoError(t, raw.Control(func(n uintptr) { got = int(n) }))
	require.Equal(t, fd, got)
	require.ErrorIs(t, raw.Read(func(uintptr) bool { return true }), errors.ErrUnsupported)
	require.ErrorIs(t, raw.Write(func(uintptr) bool { return true }), errors.ErrUnsupported)
	require.NoError(t, c.Close())
	require.ErrorIs(t, raw.Control(func(uintptr) { t.Error("called") }), net.ErrClosed)
	require.ErrorIs(t, expect.Err(c.SyscallConn()), net.ErrClosed)
}
