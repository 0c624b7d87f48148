package handoff

import (
	"testing"

	"github.com/cnode-go/cnode/test/scarce"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// If no number is free for a descriptor, that is an error, and those that got a number are closed.
func TestReceiveWithoutDescriptorNumber(t *testing.T) {
	noLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := file(t, "f")
	require.NoError(t, a.Send(soon(t), []byte("x"), f, f, f))
	next, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	require.NoError(t, unix.Close(next))
	enough := scarce.Descriptors(t, uint64(next)+1) // one number is free
	var set FDSet
	_, err = b.Receive(soon(t), make([]byte, 1), &set, 3)
	enough()
	require.ErrorIs(t, err, ErrDescriptorsLost)
	require.Zero(t, set.Len())
	require.True(t, isClosed(next))
}

// The error of a pair that cannot be made names the call once.
func TestPairWithoutDescriptors(t *testing.T) {
	enough := scarce.Descriptors(t, 0)
	_, _, err := SocketPair()
	enough()
	require.EqualError(t, err, "socketpair: too many open files")
}
