package handoff

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Where numbers for descriptors run out in the middle of a batch, the packets without one are lost, and only they.
func TestReceiveBatchWithoutNumbers(t *testing.T) {
	noLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := file(t, "f")
	sent := numbered(5)
	for i := range sent {
		sent[i].FDs = []int{f}
	}
	sent[4].FDs = nil
	n, err := a.SendBatch(soon(t), sent)
	require.NoError(t, err)
	require.Equal(t, len(sent), n)

	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	low := before
	low.Cur = 200
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	var taken []int
	for {
		fd, err := dupHigh(f)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for _, fd := range taken[:2] {
		require.NoError(t, unix.Close(fd))
	}
	got := rooms(8, 5, 1)
	n, err = b.ReceiveBatch(soon(t), got)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	for _, fd := range taken[2:] {
		require.NoError(t, unix.Close(fd))
	}
	require.NoError(t, err)
	require.Equal(t, len(sent), n)
	for i, p := range got[:n] {
		if i == 2 || i == 3 {
			require.ErrorIs(t, p.Err, ErrDescriptorsLost, "packet %d", i)
			require.Zero(t, p.Set.Len())
			continue
		}
		require.NoError(t, p.Err, "packet %d", i)
		require.Equal(t, len(sent[i].FDs), p.Set.Len())
		require.Equal(t, string(sent[i].P), string(p.P[:p.N]))
		require.NoError(t, p.Set.Close())
	}
}

func dupHigh(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) }
