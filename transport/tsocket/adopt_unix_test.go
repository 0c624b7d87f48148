//go:build unix

package tsocket

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// rawSocket makes a descriptor, which the test has to close unless it is adopted.
func rawSocket(t testing.TB, family, kind int, at transport.Addr) int {
	t.Helper()
	fd, err := unix.Socket(family, kind, 0)
	require.NoError(t, err)
	if at != nil {
		sa, err := transport.ToSockaddr(at)
		require.NoError(t, err)
		require.NoError(t, unix.Bind(fd, sa))
	}
	return fd
}

// requireTaken expects that fd is closed. Its number cannot be in use again, for these tests run
// one after the other.
func requireTaken(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	require.ErrorIs(t, err, syscall.EBADF)
}

func TestAdoptDatagram(t *testing.T) {
	path := transport.UnixAddr(filepath.Join(sockdir.New(t), "s"))
	for at, family := range map[transport.Addr]int{loopback(): unix.AF_INET, path: unix.AF_UNIX} {
		fd := rawSocket(t, family, unix.SOCK_DGRAM, at)
		d, err := AdoptDatagram(fd)
		require.NoError(t, err)
		requireTaken(t, fd)
		require.Nil(t, d.RemoteAddr())
		requireSends(t, d, "to myself", d.LocalAddr())
		requireReceives(t, d, "to myself", d.LocalAddr())

		fd = rawSocket(t, family, unix.SOCK_DGRAM, nil)
		sa, err := transport.ToSockaddr(d.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, unix.Connect(fd, sa))
		c, err := AdoptDatagram(fd)
		require.NoError(t, err)
		require.Equal(t, d.LocalAddr(), c.RemoteAddr())
		requireSends(t, c, "connected", nil)
		requireReceives(t, d, "connected", c.LocalAddr())
		require.NoError(t, c.Close())
		require.NoError(t, d.Close())
	}
	require.NoFileExists(t, path.Path())

	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	a, err := AdoptDatagram(fds[0])
	require.NoError(t, err)
	defer a.Close()
	b, err := AdoptDatagram(fds[1])
	require.NoError(t, err)
	defer b.Close()
	requireSends(t, a, "a pair", nil)
	requireReceives(t, b, "a pair", transport.UnixAddr(""))
}

// A descriptor of the wrong kind is refused and stays its owner's.
func TestAdoptDatagramRefuses(t *testing.T) {
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	unconnected := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, nil)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	closed := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, nil)
	require.NoError(t, unix.Close(closed))
	for fd, want := range map[int]error{int(file.Fd()): syscall.ENOTSOCK, closed: syscall.EBADF, -1: syscall.EBADF,
		unconnected: syscall.EINVAL, pair[0]: syscall.EINVAL} {
		require.ErrorIs(t, second(AdoptDatagram(fd)), want)
	}
	for _, fd := range []int{unconnected, pair[0], pair[1]} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.Zero(t, flags&unix.O_NONBLOCK, "it is as it was")
		require.NoError(t, unix.Close(fd), "still ours")
	}
}
