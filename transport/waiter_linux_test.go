package transport_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// A connect may be waited for in several pieces, and after a write; reads after it wait as on any
// socket.
func TestWaiterConnectedInPieces(t *testing.T) {
	tcp := transport.TCPCallbacks()
	addr, err := transport.ParseAddr("127.0.0.1:0")
	require.NoError(t, err)
	socket := func() int {
		fd, err := tcp.Socket(nil, addr)
		require.NoError(t, err)
		require.NoError(t, unix.SetNonblock(fd, true))
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	l := socket()
	addr, err = tcp.Listen(l, addr, 0)
	require.NoError(t, err)
	// this fills the backlog
	require.ErrorIs(t, tcp.Connect(socket(), addr, 0), syscall.EINPROGRESS)
	require.Eventually(t, func() bool {
		p := []unix.PollFd{{Fd: int32(l), Events: unix.POLLIN}}
		n, _ := unix.Poll(p, 0)
		return n == 1
	}, time.Minute, time.Millisecond)

	fd := socket()
	w, err := transport.NewPolling(0).Waiter(fd)
	require.NoError(t, err)
	require.ErrorIs(t, tcp.Connect(fd, addr, 0), syscall.EINPROGRESS)
	for _, wait := range []time.Duration{0, 20 * time.Millisecond, 0} {
		require.NoError(t, w.SetWriteDeadline(time.Now().Add(wait)))
		require.ErrorIs(t, w.Connected(), os.ErrDeadlineExceeded)
	}
	require.NoError(t, w.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	require.ErrorIs(t, w.Write(func() bool { _, err := unix.Write(fd, []byte{1}); return err != unix.EAGAIN }), os.ErrDeadlineExceeded)
	other, _, err := unix.Accept(l)
	require.NoError(t, err)
	require.NoError(t, unix.Close(other))
	require.NoError(t, w.SetWriteDeadline(time.Time{}))
	require.NoError(t, w.Connected()) // once the kernel has tried again
	require.NoError(t, w.Connected())
	peer, _, err := unix.Accept(l)
	require.NoError(t, err)
	defer unix.Close(peer)
	for range 5 {
		require.NoError(t, w.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		require.ErrorIs(t, ends(t, reader(w, fd)), os.ErrDeadlineExceeded)
		require.NoError(t, w.SetReadDeadline(time.Time{}))
		result := reader(w, fd)
		_, err = unix.Write(peer, []byte{1})
		require.NoError(t, err)
		require.NoError(t, ends(t, result))
	}
	require.NoError(t, w.Close())
	require.ErrorIs(t, w.Connected(), os.ErrClosed)
}
