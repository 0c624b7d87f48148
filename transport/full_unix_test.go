//go:build unix

package transport

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// blockingTCP is a FullImpl plug-in without Interrupt over descriptors in blocking mode. Its Write and Connect do not look at their
// time; its Read and Accept wait in poll(2).
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

// Without Interrupt, a Write and a Connect that outstay their time are ended by shutdown(2). What the user sees is why.
func TestFullShutdown(t *testing.T) {
	testFullShutdown(t, blockingTCP())
}

// So it is where Write goes on until all is written, and gives bytes beside what shutdown(2) made of it.
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
	tr, err := New(cb, nil)
	require.NoError(t, err)
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
			_, err := c.Writev(soon(t), []byte("before"))
			require.NoError(t, err)
			_, err = s.Readv(soon(t), make([]byte, 6))
			require.NoError(t, err)
			ctx, cancel, want := end()
			defer cancel()
			err = returns(t, aside(func() error { _, err := c.Writev(ctx, big); return err }))
			require.ErrorIs(t, err, want)
			require.NoError(t, returns(t, aside(c.Close)))

			l := crowded(t, tr, loopback())
			ctx, cancel, want = end()
			defer cancel()
			err = returns(t, aside(func() error { _, err := tr.Connect(ctx, l.Addr()); return err }))
			require.ErrorIs(t, err, want)
		})
	}
	t.Run("closed", func(t *testing.T) {
		c, s := pair(t, tr, loopback())
		write := aside(func() error { _, err := c.Writev(context.Background(), big); return err })
		read := aside(func() error { _, err := c.Read(context.Background(), make([]byte, 1)); return err })
		_, err := s.Readv(soon(t), make([]byte, 1))
		require.NoError(t, err)
		require.Eventually(t, c.reading.Load, 10*time.Second, 100*time.Microsecond)
		require.NoError(t, returns(t, aside(c.Close)))
		require.ErrorIs(t, returns(t, write), net.ErrClosed)
		require.ErrorIs(t, returns(t, read), net.ErrClosed)
	})
}

// A Connect that comes back after it was given up is closed then, if it has not taken too long.
func TestFullConnectComesBackLate(t *testing.T) {
	t.Parallel()
	cb := memoryCallbacks()
	cb.Interrupt = func(*memorySocket) {}
	release := make(chan struct{})
	var closed atomic.Int32
	closing := cb.Close
	cb.Close = func(s *memorySocket) error { closed.Add(1); return closing(s) }
	cb.Connect = func(*memorySocket, Addr, time.Duration) error { <-release; return nil }
	tr, err := New(cb, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	err = returns(t, aside(func() error { _, err := tr.Connect(ctx, MemoryAddr("x")); return err }))
	require.ErrorIs(t, err, ErrUnresponsive)
	require.Zero(t, closed.Load(), "closed under the callback")
	close(release)
	waiting(t, &closed, 1)
}

// With a descriptor that is known only when it is connected, a Connect that cannot be ended is given up all the same.
func TestFullConnectWithoutDescriptor(t *testing.T) {
	t.Parallel()
	cb := memoryCallbacks()
	cb.Interrupt = nil
	release := make(chan struct{})
	defer close(release)
	cb.Connect = func(*memorySocket, Addr, time.Duration) error { <-release; return errors.New("too late") }
	tr, err := New(cb, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	err = returns(t, aside(func() error { _, err := tr.Connect(ctx, MemoryAddr("x")); return err }))
	require.ErrorIs(t, err, ErrUnresponsive)
	var fault *CallbackError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "Connect", fault.Callback)
}
