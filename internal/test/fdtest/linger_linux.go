package fdtest

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const lingerTime = time.Minute

// Lingering makes a socket whose close would wait for lingerTime, because it has more to send than
// its peer takes. At the end of the test the peer reads, and must get everything.
func Lingering(t *testing.T) int {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer l.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}))
	peer, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(fd, true))
	sent, p := 0, make([]byte, 1<<20)
	for err == nil {
		var n int
		n, err = unix.Write(fd, p)
		sent += max(n, 0)
	}
	require.ErrorIs(t, err, unix.EAGAIN)
	linger := unix.Linger{Onoff: 1, Linger: int32(lingerTime / time.Second)}
	require.NoError(t, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
	t.Cleanup(func() {
		defer peer.Close()
		require.NoError(t, peer.SetDeadline(time.Now().Add(20*time.Second)))
		n, err := io.Copy(io.Discard, peer)
		require.NoError(t, err)
		require.EqualValues(t, sent, n)
	})
	return fd
}

// Give sends descriptors, and closes the sender's own.
func Give(t *testing.T, c syscall.Conn, p []byte, fds ...int) {
	t.Helper()
	SendRaw(t, c, p, unix.UnixRights(fds...))
	for _, fd := range fds {
		require.NoError(t, unix.Close(fd))
	}
}

// DropsAtOnce requires of each case that what it returns does not wait, though it closes a socket
// of Lingering.
func DropsAtOnce(t *testing.T, cases map[string]func(t *testing.T) (drop func())) {
	t.Helper()
	for name, drops := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drop := drops(t)
			begin := time.Now()
			drop()
			require.Less(t, time.Since(begin), lingerTime/2)
		})
	}
}
