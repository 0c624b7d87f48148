package handoff

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A descriptor for which no number is free is an error, and those that had one are closed.
func TestReceiveWithoutDescriptorNumber(t *testing.T) {
	noLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := file(t, "f")
	require.NoError(t, a.Send(soon(t), []byte("x"), f, f, f))
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	next, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	require.NoError(t, unix.Close(next))
	tight := limit
	tight.Cur = uint64(next) + 1 // one is
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &tight))
	var set FDSet
	_, err = b.Receive(soon(t), make([]byte, 1), &set, 3)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	require.ErrorIs(t, err, ErrDescriptorsLost)
	require.Zero(t, set.Len())
	require.True(t, isClosed(next))
}

// The error of a pair that cannot be made names the call once.
func TestPairWithoutDescriptors(t *testing.T) {
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	_, _, err := SocketPair()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	require.EqualError(t, err, "socketpair: too many open files")
}
