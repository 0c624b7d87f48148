//go:build unix

package descriptor

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func inherited(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	return flags&unix.FD_CLOEXEC == 0
}

func TestNothingIsInherited(t *testing.T) {
	one, other, err := StreamPair()
	require.NoError(t, err)
	dup, err := Duplicate(one)
	require.NoError(t, err)
	for _, fd := range []int{one, other, dup} {
		require.False(t, inherited(t, fd))
		require.GreaterOrEqual(t, fd, 3)
	}
	_, err = unix.FcntlInt(uintptr(dup), unix.F_SETFD, 0)
	require.NoError(t, err)
	CloseOnExec(dup)
	require.False(t, inherited(t, dup))

	Shutdown(dup) // for all that have a descriptor of it
	n, err := unix.Read(other, make([]byte, 1))
	require.NoError(t, err)
	require.Zero(t, n)
	for _, fd := range []int{one, other, dup} {
		require.NoError(t, Close(fd))
		require.ErrorIs(t, Close(fd), unix.EBADF)
		_, err = Duplicate(fd)
		require.ErrorIs(t, err, unix.EBADF)
		_, err = FileOf(fd)
		require.ErrorIs(t, err, unix.EBADF)
	}
}

func TestAwaitInput(t *testing.T) {
	one, other, err := StreamPair()
	require.NoError(t, err)
	defer Close(other)
	f := File(one)
	c, err := net.FileConn(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	conn := c.(*net.UnixConn)
	defer conn.Close()

	require.NoError(t, conn.SetReadDeadline(time.Now()))
	require.ErrorIs(t, AwaitInput(conn), os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	ready := make(chan error, 1)
	go func() { ready <- AwaitInput(conn) }()
	_, err = unix.Write(other, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, <-ready)
	b := make([]byte, 2)
	n, err := conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "x", string(b[:n]), "it stays there")

	go func() { ready <- AwaitInput(conn) }()
	Shutdown(other)
	require.NoError(t, <-ready)
}
