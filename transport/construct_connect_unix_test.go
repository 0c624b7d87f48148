//go:build unix

package transport

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// crowded is a listener whose backlog is full.
func crowded(t *testing.T, tr Transport, at Addr) *Listener {
	l := expect.Open(tr.Listen(at, 1)).In(t)
	for range 20 {
		// where there is room it takes no time, even on a busy machine
		s, err := tr.Connect(within(t, time.Second), l.Addr())
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return l
		}
		t.Cleanup(func() { s.Close() })
	}
	require.FailNow(t, "the backlog has no end")
	return nil
}

func socketPath(t testing.TB) Addr {
	return UnixAddr(sockdir.New(t) + "/s")
}

// A UNIX connect on a full backlog is EAGAIN, and the poller would never wake for it: the SDK tries
// again.
func TestConnectUnixRetries(t *testing.T) {
	cb := UnixCallbacks()
	connect := cb.Connect
	var calls atomic.Int32
	cb.Connect = func(u *UnixSocket, a Addr, tmo time.Duration) error {
		calls.Add(1)
		return connect(u, a, tmo)
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	l := crowded(t, tr, socketPath(t))
	calls.Store(0)
	connected := expect.Aside(func() error {
		s, err := tr.Connect(soon(t), l.Addr())
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return err
	})
	waiting(t, &calls, 3)
	for range 3 { // room for one more
		expect.Open(l.Accept(soon(t))).In(t)
	}
	require.NoError(t, expect.Returns(t, connected))
}

// A listener removes only its own file: that of another listener at the same path stays.
func TestUnixCloseLeavesOthers(t *testing.T) {
	for _, imported := range []bool{false, true} {
		at := socketPath(t)
		tr := Unix()
		old := expect.NoError(tr.Listen(at, 0)).In(t)
		if imported {
			fd := expect.NoError(old.Descriptor()).In(t)
			dup := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)).In(t)
			require.NoError(t, old.Release())
			old = expect.NoError(tr.ImportListener(dup)).In(t)
		}
		require.NoError(t, os.Remove(at.(UnixAddr).Path()))
		now := expect.NoError(tr.Listen(at, 0)).In(t)
		require.NoError(t, old.Close())
		c := expect.NoError(tr.Connect(soon(t), at)).In(t)
		require.NoError(t, c.Close())
		require.NoError(t, now.Close())
		require.NoFileExists(t, at.(UnixAddr).Path())
	}
}

func TestConnectRefused(t *testing.T) {
	at := expect.NoError(ParseAddr(port.Vacant(t))).In(t)
	_, err := TCP().Connect(soon(t), at)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	op := expect.As[*OpError](t, err)
	require.Equal(t, "connect", op.Op)
	require.Equal(t, at, op.Addr)
	require.EqualError(t, err, "connect "+at.String()+": connection refused")

	require.ErrorIs(t, expect.Err(Unix().Connect(soon(t), socketPath(t))), syscall.ENOENT)
	require.ErrorIs(t, expect.Err(NewMemory().Connect(soon(t), MemoryAddr("nobody"))), syscall.ECONNREFUSED)
	require.ErrorIs(t, expect.Err(FromNet(overTCP()).Connect(soon(t), at)), syscall.ECONNREFUSED)
}

// The later failure of a connect in progress is found out by SO_ERROR. The kernel tries again after
// a second, and is refused then.
func TestConnectRefusedLater(t *testing.T) {
	l := crowded(t, TCP(), loopback())
	connected := expect.Aside(func() error { _, err := TCP().Connect(soon(t), l.Addr()); return err })
	select {
	case err := <-connected:
		require.FailNow(t, "the backlog was not full", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, l.Close())
	require.ErrorIs(t, expect.Returns(t, connected), syscall.ECONNREFUSED)
}

// What Connect may return for a connection that is up, or fails.
func TestConnectAnswers(t *testing.T) {
	refused := errors.New("refused by the plug-in")
	for _, tt := range []struct {
		name string
		say  func(fd int, err error) error // after a connect whose result was err
		want error
	}{
		{"EINPROGRESS though it is up", func(fd int, err error) error { return unix.EINPROGRESS }, nil},
		{"EALREADY", func(fd int, err error) error { return unix.EALREADY }, nil},
		{"EISCONN", func(fd int, err error) error { return unix.EISCONN }, nil},
		{"wrapped", func(fd int, err error) error { return os.NewSyscallError("connect", unix.EINPROGRESS) }, nil},
		{"an error", func(int, error) error { return refused }, refused},
		{"an errno", func(int, error) error { return unix.ENETUNREACH }, syscall.ENETUNREACH},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := TCPCallbacks()
			connect := cb.Connect
			cb.Connect = func(fd int, a Addr, tmo time.Duration) error { return tt.say(fd, connect(fd, a, tmo)) }
			var open atomic.Int32
			socket, closing := cb.Socket, cb.Close
			cb.Socket = func(setup any, a Addr) (int, error) { open.Add(1); return socket(setup, a) }
			cb.Close = func(fd int) error { open.Add(-1); return closing(fd) }
			tr := expect.NoError(New(cb, nil)).In(t)
			l := expect.Open(TCP().Listen(loopback(), 0)).In(t)
			s, err := tr.Connect(soon(t), l.Addr())
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				require.Zero(t, open.Load(), "the socket was not closed")
				return
			}
			require.NoError(t, err)
			defer s.Close()
			peer := expect.Open(l.Accept(soon(t))).In(t)
			requireWrites(t, s, "up")
			require.NoError(t, expect.Err(peer.Readv(soon(t), make([]byte, 2))))
		})
	}
}

func TestConnectInterrupted(t *testing.T) {
	cb := TCPCallbacks()
	connect, calls := cb.Connect, 0
	cb.Connect = func(fd int, a Addr, tmo time.Duration) error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return connect(fd, a, tmo)
	}
	tr := expect.NoError(New(cb, nil)).In(t)
	pair(t, tr, loopback())
	require.Equal(t, 3, calls)
}

// Faults of Socket, Listen and GetFD while a socket is made: errors that name the callback, and
// nothing left open.
func TestOpeningFaults(t *testing.T) {
	failed := errors.New("failed")
	for _, tt := range []struct {
		name    string
		breakIt func(cb *Callbacks[int])
		want    error
		names   string
		opened  bool // Socket has given a C, which must be closed
	}{
		{"Socket fails", func(cb *Callbacks[int]) { cb.Socket = func(any, Addr) (int, error) { return -1, failed } }, failed, "", false},
		{"Socket panics", func(cb *Callbacks[int]) { cb.Socket = func(any, Addr) (int, error) { panic("socket") } }, ErrPanic, "Socket", false},
		{"GetFD fails", func(cb *Callbacks[int]) { cb.GetFD = func(int) (int, error) { return -1, failed } }, failed, "GetFD", true},
		{"GetFD gives none", func(cb *Callbacks[int]) { cb.GetFD = func(int) (int, error) { return -1, nil } }, ErrContract, "GetFD", true},
		{"GetFD gives one that is not open", func(cb *Callbacks[int]) { cb.GetFD = func(int) (int, error) { return 1 << 20, nil } },
			ErrContract, "GetFD", true},
		{"GetFD has none without FullImpl", func(cb *Callbacks[int]) {
			cb.GetFD = func(int) (int, error) {
				return -1,
					errors.ErrUnsupported
			}
		}, errors.ErrUnsupported, "GetFD", true},
		{"GetFD panics", func(cb *Callbacks[int]) { cb.GetFD = func(int) (int, error) { panic("fd") } }, ErrPanic, "GetFD", true},
		{"Listen fails", func(cb *Callbacks[int]) { cb.Listen = func(int, Addr, int) (Addr, error) { return nil, failed } }, failed, "", true},
		{"Listen gives no address", func(cb *Callbacks[int]) { cb.Listen = func(int, Addr, int) (Addr, error) { return nil, nil } },
			ErrContract, "Listen", true},
		{"Listen panics", func(cb *Callbacks[int]) { cb.Listen = func(int, Addr, int) (Addr, error) { panic("listen") } }, ErrPanic,
			"Listen", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cb := TCPCallbacks()
			tt.breakIt(&cb)
			var open atomic.Int32
			socket, closing := cb.Socket, cb.Close
			cb.Socket = func(setup any, a Addr) (int, error) {
				fd, err := socket(setup, a)
				if err == nil {
					open.Add(1)
				}
				return fd, err
			}
			cb.Close = func(fd int) error { open.Add(-1); return closing(fd) }
			tr := expect.NoError(New(cb, nil)).In(t)
			_, err := tr.Listen(loopback(), 0)
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.names)
			if fault := (*CallbackError)(nil); tt.names != "" && tt.want != failed {
				require.ErrorAs(t, err, &fault)
				require.Equal(t, tt.names, fault.Callback)
			}
			require.Zero(t, open.Load(), "the socket was not closed")
		})
	}
}
