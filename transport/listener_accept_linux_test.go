//go:build linux

package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/scarce"
)

// A lack of descriptors or memory, and errors that concern one connection only (it is gone again,
// its network fails, it is forbidden), do not end a listener.
func TestAcceptGoesOn(t *testing.T) {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR,
		os.NewSyscallError("accept", unix.EMFILE), unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET,
		unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EPERM} {
		t.Run(errno.Error(), func(t *testing.T) {
			cb := TCPCallbacks()
			accept := cb.Accept
			var calls, failures atomic.Int32
			failures.Store(3)
			cb.Accept = func(fd int, tmo time.Duration) (int, Addr, error) {
				calls.Add(1)
				if failures.Add(-1) >= 0 {
					return -1, nil, errno
				}
				return accept(fd, tmo)
			}
			tr := expect.NoError(New(cb, nil)).In(t)
			pair(t, tr, loopback())
			require.Greater(t, calls.Load(), int32(3))

			// It is still ended by its context, and by Close.
			failures.Store(1 << 30)
			l := expect.NoError(tr.Listen(loopback(), 0)).In(t)
			var told atomic.Int32
			l.Exhausted = func(err error) {
				require.ErrorIs(t, err, errno)
				told.Add(1)
			}
			if errno == unix.EINTR { // which goes on without end inside a system call
				failures.Store(0)
			}
			tells := int32(1) // how often an Accept calls Exhausted
			if errno == unix.EINTR || errno == unix.ECONNABORTED {
				tells = 0
			}
			begins := func(ctx context.Context, call int32) <-chan error {
				done := expect.Aside(func() error { _, err := l.Accept(ctx); return err })
				require.Eventually(t, func() bool { return l.accepting.Load() && told.Load() == call*tells }, tooLong, 100*time.Microsecond)
				return done
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := begins(ctx, 1)
			cancel()
			require.ErrorIs(t, expect.Returns(t, done), context.Canceled)
			done = begins(context.Background(), 2)
			require.NoError(t, expect.Returns(t, expect.Aside(l.Close)))
			require.ErrorIs(t, expect.Returns(t, done), net.ErrClosed)
			require.Equal(t, 2*tells, told.Load(), "once a call")
		})
	}
}

// With the real lack of descriptors: the accept that could not be made is made when there are some.
func TestAcceptWithoutDescriptors(t *testing.T) {
	l := expect.Open(TCP().Listen(loopback(), 0)).In(t)
	expect.Open(TCP().Connect(soon(t), l.Addr())).In(t)

	enough := scarce.Descriptors(t, 0)
	accepted := expect.Aside(func() error { return closed(l.Accept(context.Background())) })
	var early error
	returned := false
	select {
	case early = <-accepted:
		returned = true
	case <-time.After(20 * time.Millisecond):
	}
	enough()
	require.False(t, returned, "Accept gave up: %v", early)
	require.NoError(t, expect.Returns(t, accepted))
}

// Other errors end the listener, and so does a plug-in's fault, whatever it is caused by.
func TestAcceptFails(t *testing.T) {
	for name, fails := range map[string]struct{ err, says error }{
		"broken":          {unix.EINVAL, unix.EINVAL},
		"unsupported":     {errors.ErrUnsupported, errors.ErrUnsupported},
		"plug-in's fault": {fmt.Errorf("%w: %w", ErrContract, unix.EPERM), ErrContract},
	} {
		t.Run(name, func(t *testing.T) {
			cb := TCPCallbacks()
			cb.Accept = func(int, time.Duration) (int, Addr, error) { return -1, nil, fails.err }
			tr := expect.NoError(New(cb, nil)).In(t)
			l := expect.NoError(tr.Listen(loopback(), 0)).In(t)
			_, err := l.Accept(soon(t))
			require.ErrorIs(t, err, fails.says)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			op := expect.As[*OpError](t, err)
			require.Equal(t, "accept", op.Op)
			require.Equal(t, l.Addr(), op.Addr)
			require.NoError(t, l.Close())
		})
	}
}

func TestAcceptBusy(t *testing.T) {
	for name, over := range carriers(t) {
		t.Run(name, func(t *testing.T) {
			l := expect.NoError(over.tr.Listen(over.at, 0)).In(t)
			accepted := expect.Aside(func() error { return closed(l.Accept(context.Background())) })
			require.Eventually(t, l.accepting.Load, tooLong, 100*time.Microsecond)
			require.ErrorIs(t, expect.Err(l.Accept(soon(t))), ErrBusy)
			c := expect.NoError(over.tr.Connect(soon(t), l.Addr())).In(t)
			require.NoError(t, expect.Returns(t, accepted), "the first one completes")
			require.NoError(t, c.Close())
			require.NoError(t, l.Close())
			require.NoError(t, l.Close())
			require.ErrorIs(t, expect.Err(l.Accept(soon(t))), net.ErrClosed)
		})
	}
}

// A plug-in that accepts something without a descriptor of its own.
func TestAcceptGivesNoDescriptor(t *testing.T) {
	cb := TCPCallbacks()
	accept := cb.Accept
	cb.Accept = func(fd int, tmo time.Duration) (int, Addr, error) {
		nfd, peer, err := accept(fd, tmo)
		if err == nil {
			unix.Close(nfd)
			nfd = 1 << 20
		}
		return nfd, peer, err
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	l := expect.NoError(tr.Listen(loopback(), 0)).In(t)
	expect.Open(TCP().Connect(soon(t), l.Addr())).In(t)
	_, err := l.Accept(soon(t))
	require.ErrorIs(t, err, ErrContract)
	fault := expect.As[*CallbackError](t, err)
	require.Equal(t, "GetFD", fault.Callback)
	_ = expect.Returns(t, expect.Aside(l.Close))
}

// Another process that shares a listener may put it into blocking mode: Accept works all the same,
// and ends with its context, by Pause and by Close.
func TestAcceptInBlockingMode(t *testing.T) {
	other := expect.NoError(New(TCPCallbacks(), nil)).In(t)
	for name, over := range map[string]struct {
		tr Transport
		at Addr
	}{"tcp": {TCP(), loopback()}, "unix": {Unix(), socketPath(t)}, "somebody's own": {other, loopback()}} {
		t.Run(name, func(t *testing.T) {
			l := expect.NoError(over.tr.Listen(over.at, 0)).In(t)
			fd := expect.NoError(l.Descriptor()).In(t)
			accept := func(ctx context.Context) <-chan error {
				require.NoError(t, unix.SetNonblock(fd, false))
				accepted := expect.Aside(func() error { return closed(l.Accept(ctx)) })
				require.Eventually(t, func() bool { return l.accepting.Load() || len(accepted) > 0 }, tooLong, 100*time.Microsecond)
				return accepted
			}
			require.ErrorIs(t, expect.Returns(t, accept(within(t, 10*time.Millisecond))), context.DeadlineExceeded)

			accepted := accept(context.Background())
			require.NoError(t, expect.Returns(t, expect.Aside(func() error { return l.Pause(soon(t)) })))
			require.ErrorIs(t, expect.Returns(t, accepted), ErrPaused)
			l.Resume()

			accepted = accept(context.Background())
			runtime.GC()
			c := expect.NoError(over.tr.Connect(soon(t), l.Addr())).In(t)
			require.NoError(t, expect.Returns(t, accepted))
			require.NoError(t, c.Close())

			accepted = accept(context.Background())
			require.NoError(t, expect.Returns(t, expect.Aside(l.Close)))
			require.ErrorIs(t, expect.Returns(t, accepted), net.ErrClosed)
		})
	}
}

// The error of a pair that cannot be made names the call once.
func TestPairWithoutDescriptors(t *testing.T) {
	enough := scarce.Descriptors(t, 0)
	_, _, err := UnixPair()
	enough()
	require.EqualError(t, err, "socketpair: too many open files")
}
