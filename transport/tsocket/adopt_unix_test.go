//go:build unix

package tsocket

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// rawSocket makes a descriptor, which the test has to close unless it is adopted.
func rawSocket(t testing.TB, family, kind int, at transport.Addr) int {
	t.Helper()
	fd := expect.NoError(unix.Socket(family, kind, 0)).In(t)
	if at != nil {
		sa := expect.NoError(transport.ToSockaddr(at)).In(t)
		require.NoError(t, unix.Bind(fd, sa))
	}
	return fd
}

// requireTaken expects that fd is closed. Its number cannot be in use again, for these tests run
// one after the other.
func requireTaken(t testing.TB, fd int) {
	t.Helper()
	require.ErrorIs(t, expect.Err(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)), syscall.EBADF)
}

func TestAdoptDatagram(t *testing.T) {
	path := transport.UnixAddr(filepath.Join(sockdir.New(t), "s"))
	for at, family := range map[transport.Addr]int{loopback(): unix.AF_INET, path: unix.AF_UNIX} {
		fd := rawSocket(t, family, unix.SOCK_DGRAM, at)
		d := expect.NoError(AdoptDatagram(fd)).In(t)
		requireTaken(t, fd)
		require.Nil(t, d.RemoteAddr())
		requireSends(t, d, "to myself", d.LocalAddr())
		requireReceives(t, d, "to myself", d.LocalAddr())

		fd = rawSocket(t, family, unix.SOCK_DGRAM, nil)
		sa := expect.NoError(transport.ToSockaddr(d.LocalAddr())).In(t)
		require.NoError(t, unix.Connect(fd, sa))
		c := expect.NoError(AdoptDatagram(fd)).In(t)
		require.Equal(t, d.LocalAddr(), c.RemoteAddr())
		requireSends(t, c, "connected", nil)
		requireReceives(t, d, "connected", c.LocalAddr())
		require.NoError(t, c.Close())
		require.NoError(t, d.Close())
	}
	require.NoFileExists(t, path.Path())

	fds := expect.NoError(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)).In(t)
	a := expect.Open(AdoptDatagram(fds[0])).In(t)
	b := expect.Open(AdoptDatagram(fds[1])).In(t)
	requireSends(t, a, "a pair", nil)
	requireReceives(t, b, "a pair", transport.UnixAddr(""))
}

// A descriptor of the wrong kind is refused and stays its owner's.
func TestAdoptDatagramRefuses(t *testing.T) {
	file := expect.Open(os.Open(os.DevNull)).In(t)
	unconnected := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, nil)
	pair := expect.NoError(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)).In(t)
	closed := rawSocket(t, unix.AF_INET, unix.SOCK_STREAM, nil)
	require.NoError(t, unix.Close(closed))
	for fd, want := range map[int]error{int(file.Fd()): syscall.ENOTSOCK, closed: syscall.EBADF, -1: syscall.EBADF,
		unconnected: syscall.EINVAL, pair[0]: syscall.EINVAL} {
		require.ErrorIs(t, expect.Err(AdoptDatagram(fd)), want)
	}
	for _, fd := range []int{unconnected, pair[0], pair[1]} {
		flags := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)).In(t)
		require.Zero(t, flags&unix.O_NONBLOCK, "it is as it was")
		require.NoError(t, unix.Close(fd), "still ours")
	}
}
