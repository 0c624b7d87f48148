//go:build unix

package transport

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
)

// requireTaken expects that fd is closed. Its number cannot be in use again, for these tests run
// one after the other.
func requireTaken(t testing.TB, fd int) {
	t.Helper()
	require.ErrorIs(t, expect.Err(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)), syscall.EBADF)
}

func TestAdoptStream(t *testing.T) {
	l := expect.Open(ListenTCP(loopback(), 0)).In(t)
	ul := expect.Open(ListenUnix(UnixAddr(filepath.Join(sockdir.New(t), "s")), 0)).In(t)
	for family, l := range map[int]*Listener{unix.AF_INET: l, unix.AF_UNIX: ul} {
		fd := rawSocket(t, family, unix.SOCK_STREAM, nil)
		sa := expect.NoError(ToSockaddr(l.Addr())).In(t)
		require.NoError(t, unix.Connect(fd, sa))
		s := expect.NoError(l.Accept(soon(t))).In(t)
		c := expect.NoError(AdoptStream(fd)).In(t)
		requireTaken(t, fd)
		requireSpeak(t, c, s)
		require.Equal(t, l.Addr(), c.RemoteAddr())
		own := expect.NoError(c.Descriptor()).In(t)
		require.GreaterOrEqual(t, own, 3)
		flags := expect.NoError(unix.FcntlInt(uintptr(own), unix.F_GETFD, 0)).In(t)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
		require.NoError(t, c.Close())
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
		require.NoError(t, s.Close())
	}
}

func TestAdoptListener(t *testing.T) {
	path := UnixAddr(filepath.Join(sockdir.New(t), "s"))
	for at, family := range map[Addr]int{loopback(): unix.AF_INET, path: unix.AF_UNIX} {
		fd := rawSocket(t, family, unix.SOCK_STREAM, at)
		require.NoError(t, unix.Listen(fd, 5))
		l := expect.NoError(AdoptListener(fd)).In(t)
		requireTaken(t, fd)
		tr := TCP()
		if family == unix.AF_UNIX {
			tr = Unix()
			require.Equal(t, at, l.Addr())
		}
		c, s := acceptOne(t, l, func() (*Stream, error) { return tr.Connect(soon(t), l.Addr()) })
		requireSpeak(t, c, s)
		require.NoError(t, l.Close())
	}
	require.NoFileExists(t, path.Path())
}

// A descriptor of the wrong kind is refused and stays its owner's.
func TestAdoptRefuses(t *testing.T) {
	file := expect.Open(os.Open(os.DevNull)).In(t)
	unconnected := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, nil)
	listening := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, loopback())
	require.NoError(t, unix.Listen(listening, 1))
	datagrams := rawSocket(t, unix.AF_INET, unix.SOCK_DGRAM, loopback())
	pair := expect.NoError(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)).In(t)
	closed := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, nil)
	require.NoError(t, unix.Close(closed))

	adoptions := map[string]func(int) error{
		"stream":   func(fd int) error { return expect.Err(AdoptStream(fd)) },
		"listener": func(fd int) error { return expect.Err(AdoptListener(fd)) },
	}
	for _, tt := range []struct {
		name string
		fd   int
		want map[string]error
	}{
		{"file", int(file.Fd()), map[string]error{"stream": syscall.ENOTSOCK, "listener": syscall.ENOTSOCK}},
		{"closed", closed, map[string]error{"stream": syscall.EBADF, "listener": syscall.EBADF}},
		{"none", -1, map[string]error{"stream": syscall.EBADF, "listener": syscall.EBADF}},
		{"unconnected", unconnected, map[string]error{"stream": syscall.ENOTCONN, "listener": syscall.ENOTCONN}},
		{"listening", listening, map[string]error{"stream": syscall.EINVAL}},
		{"datagrams", datagrams, map[string]error{"stream": syscall.EINVAL, "listener": syscall.EINVAL}},
		{"stream", pair[0], map[string]error{"listener": syscall.EINVAL}},
	} {
		for as, want := range tt.want {
			require.ErrorIs(t, adoptions[as](tt.fd), want, "%s as %s", tt.name, as)
		}
	}
	for _, fd := range []int{unconnected, listening, datagrams, pair[0], pair[1]} {
		flags := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)).In(t)
		require.Zero(t, flags&unix.O_NONBLOCK, "it is as it was")
		require.NoError(t, unix.Close(fd), "still ours")
	}
}
