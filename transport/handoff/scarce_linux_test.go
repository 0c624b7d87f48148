package handoff

import (
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// few leaves only left free descriptor numbers, until enough is called.
func few(t *testing.T, f, left int) (enough func()) {
	t.Helper()
	all := scarce.Descriptors(t, 200)
	var taken []int
	for {
		fd, err := dupHigh(f)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for _, fd := range taken[:left] {
		require.NoError(t, unix.Close(fd))
	}
	return func() {
		t.Helper()
		all()
		for _, fd := range taken[left:] {
			require.NoError(t, unix.Close(fd))
		}
	}
}

func dupHigh(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) }

// A descriptor that arrives with a number below 3, when no other number is free, is lost like one
// for which there was no number at all.
func TestNoNumberFrom3On(t *testing.T) {
	fdtest.NoLeak(t)
	enough := few(t, fdtest.File(t, "f"), 0)
	var i incoming
	err := i.settle(1, unix.UnixRights(0), 0, false)
	enough()
	require.ErrorIs(t, err, ErrDescriptorsLost)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.Equal(t, []int{0}, i.fds, "to be closed")
}
