package handoff

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/cnode-go/cnode/internal/test/scarce"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// If descriptor numbers run out in the middle of a batch, only the packets whose descriptors got
// none are lost.
func TestReceiveBatchWithoutNumbers(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	f := fdtest.File(t, "f")
	sent := numbered(5)
	for i := range sent {
		sent[i].FDs = []int{f}
	}
	sent[4].FDs = nil
	n, err := a.SendBatch(fdtest.Soon(t), sent)
	require.NoError(t, err)
	require.Equal(t, len(sent), n)

	enough := few(t, f, 2)
	got := rooms(8, 5, 1)
	n, err = b.ReceiveBatch(fdtest.Soon(t), got)
	enough()
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

// An error of the socket does not affect descriptors that were received before, and have an owner.
func TestErrorLeavesEarlierDescriptors(t *testing.T) {
	fdtest.NoLeak(t)
	x, y := fdtest.RawPair(t, unix.SOCK_DGRAM)
	b := conn(t, fdtest.UnixConn(t, y))
	defer unix.Close(x)
	f := fdtest.File(t, "f")
	for range 2 {
		require.NoError(t, unix.Sendmsg(x, []byte("x"), unix.UnixRights(f), nil, 0))
	}
	got := rooms(3, 4, 1)
	n, err := b.ReceiveBatch(fdtest.Soon(t), got)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, b.Send(fdtest.Soon(t), []byte("unread")))
	// AF_UNSPEC: a socket that disconnects with datagrams unread resets its peer
	var nowhere [2]byte
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(x), uintptr(unsafe.Pointer(&nowhere)), 2)
	require.Zero(t, errno)
	_, err = b.ReceiveBatch(transport.NoWait(), rooms(3, 4, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	for _, p := range got[:2] {
		fd, err := p.Set.FD(0)
		require.NoError(t, err)
		require.False(t, fdtest.IsClosed(fd), "descriptor %d was closed behind its owner's back", fd)
		require.NoError(t, p.Set.Close())
	}
}

// An empty packet with others behind it is received as a packet, and hides none of the others.
func TestBatchWithEmptyPackets(t *testing.T) {
	fdtest.NoLeak(t)
	for _, list := range [][]string{{"", "x"}, {"a", "", "x"}, {"", "", "x"}} {
		a, b := connPair(t, unix.SOCK_SEQPACKET)
		f := fdtest.File(t, "f")
		sent := make([]Packet, len(list))
		for i, text := range list {
			sent[i].P = []byte(text)
		}
		sent[len(list)-1].FDs = []int{f}
		_, err := a.SendBatch(fdtest.Soon(t), sent)
		require.NoError(t, err)
		got := rooms(8, 5, 1)
		n, err := b.ReceiveBatch(fdtest.Soon(t), got)
		require.NoError(t, err)
		require.Equal(t, 1, got[len(list)-1].Set.Len())
		require.Equal(t, list, texts(t, got[:n]))
	}
}
