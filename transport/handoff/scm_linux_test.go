package handoff

import (
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// If no number is free for a descriptor, that is an error, and those that got a number are closed.
func TestReceiveWithoutDescriptorNumber(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := fdtest.File(t, "f")
	require.NoError(t, a.Send(fdtest.Soon(t), []byte("x"), f, f, f))
	next, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	require.NoError(t, unix.Close(next))
	enough := scarce.Descriptors(t, uint64(next)+1) // one number is free
	var set FDSet
	_, err = b.Receive(fdtest.Soon(t), make([]byte, 1), &set, 3)
	enough()
	require.ErrorIs(t, err, ErrDescriptorsLost)
	require.Zero(t, set.Len())
	require.True(t, fdtest.IsClosed(next))
}

// The error of a pair that cannot be made names the call once.
func TestPairWithoutDescriptors(t *testing.T) {
	enough := scarce.Descriptors(t, 0)
	_, _, err := sock.Pair(syscall.SOCK_STREAM)
	enough()
	require.EqualError(t, err, "socketpair: too many open files")
}
