//go:build unix

package handoff

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// A file that cannot be a connection stays the caller's.
func TestFileConn(t *testing.T) {
	fdtest.NoLeak(t)
	f := fdtest.Open(t, "f")
	require.ErrorIs(t, expect.Err(FileConn(f)), syscall.ENOTSOCK)
	require.Equal(t, "f", fdtest.Content(t, int(f.Fd())), "it stays the caller's")
	fd := expect.NoError(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)).In(t)
	inet := os.NewFile(uintptr(fd), "inet")
	require.ErrorIs(t, expect.Err(FileConn(inet)), syscall.EAFNOSUPPORT)
	require.NoError(t, inet.Close())
	one, other, err := sock.Pair(syscall.SOCK_STREAM)
	require.NoError(t, err)
	c := expect.NoError(FileConn(one)).In(t)
	require.ErrorIs(t, one.Close(), os.ErrClosed)
	require.NoError(t, c.Close())
	require.NoError(t, other.Close())
}

// A file that cannot be a channel stays the caller's.
func TestFileChannel(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := fdtest.RawPair(t, unix.SOCK_STREAM)
	defer unix.Close(b)
	f := os.NewFile(uintptr(a), "stream")
	_, err := FileChannel(f)
	if sock.Sequenced(syscall.SOCK_SEQPACKET) == nil { // the system has sequenced packets, and this socket is of another type
		require.ErrorIs(t, err, syscall.EINVAL)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
	} else {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	require.NoError(t, f.Close())
	f = fdtest.Open(t, "f")
	require.ErrorIs(t, expect.Err(FileChannel(f)), syscall.ENOTSOCK)
	require.NoError(t, f.Close())
}
