//go:build unix

package transport

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// strangers are descriptors that may come in the place of a connection or of a listener; the keys
// say what they are.
func strangers(t *testing.T) map[string]int {
	t.Helper()
	own := func(of syscall.Conn) int {
		raw, err := of.SyscallConn()
		require.NoError(t, err)
		dup := -1
		require.NoError(t, raw.Control(func(fd uintptr) { dup, err = sys.Dup(int(fd)) }))
		require.NoError(t, err)
		return dup
	}
	file := expect.NoError(os.CreateTemp(t.TempDir(), "")).In(t)
	null := expect.NoError(os.Open(os.DevNull)).In(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	udp := expect.NoError(net.ListenPacket("udp", "127.0.0.1:0")).In(t)
	connected := expect.NoError(net.Dial("udp", udp.LocalAddr().String())).In(t)
	tcp, at := pair(t, TCP(), loopback())
	l := expect.NoError(TCP().Listen(loopback(), 0)).In(t)
	unixStream, _ := pair(t, Unix(), socketPath(t))
	ul := expect.NoError(Unix().Listen(socketPath(t), 0)).In(t)
	fds := map[string]int{
		"a file": own(file), "the null device": own(null), "a pipe": own(r), "a UDP socket": own(udp.(*net.UDPConn)),
		"a connected UDP socket": own(connected.(*net.UDPConn)), "no descriptor": 1 << 20, "a TCP connection": duplicate(t, tcp),
		"a TCP listener": duplicate(t, l), "a UNIX connection": duplicate(t, unixStream), "a UNIX listener": duplicate(t, ul),
	}
	for what, of := range map[string][2]int{
		"an unconnected TCP socket": {unix.AF_INET, unix.SOCK_STREAM}, "an unconnected UNIX socket": {unix.AF_UNIX, unix.SOCK_STREAM},
		"a UNIX datagram socket": {unix.AF_UNIX, unix.SOCK_DGRAM},
	} {
		fds[what] = expect.NoError(sys.Socket(of[0], of[1])).In(t)
	}
	bound := expect.NoError(sys.Socket(unix.AF_INET, unix.SOCK_STREAM)).In(t)
	require.NoError(t, unix.Bind(bound, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	fds["a TCP socket that is bound"] = bound
	for _, c := range []interface{ Close() error }{file, null, r, w, udp, connected, tcp, at, l, unixStream, ul} {
		require.NoError(t, c.Close())
	}
	t.Cleanup(func() {
		for what, fd := range fds {
			if what != "no descriptor" {
				_ = unix.Close(fd)
			}
		}
	})
	return fds
}

// A descriptor that is no connection, or no listener, of a plug-in's is refused, whatever else it
// is, and stays its owner's. The error does not blame the plug-in.
func TestImportStrangers(t *testing.T) {
	all := strangers(t)
	around := struct{ Transport }{TCP()}
	for name, tt := range map[string]struct {
		tr             Transport
		conn, listener string // what is imported
		either         bool   // also import each in the place of the other
	}{
		"tcp": {TCP(), "a TCP connection", "a TCP listener", false}, "unix": {Unix(), "a UNIX connection", "a UNIX listener", false},
		"another's around it":             {around, "a TCP connection", "a TCP listener", false},
		"another's of the same callbacks": {made(t, UnixCallbacks()), "a UNIX connection", "a UNIX listener", true},
	} {
		for what, fd := range all {
			t.Run(name+" of "+what, func(t *testing.T) {
				before := leak.Descriptors()
				for _, by := range []struct {
					name, right string
					adopt       func() error
				}{
					{"Import", tt.conn, func() error { _, err := tt.tr.Import(fd, nil); return err }},
					{"ImportListener", tt.listener, func() error { _, err := tt.tr.ImportListener(fd); return err }},
				} {
					if what == by.right || tt.either && (what == tt.conn || what == tt.listener) {
						continue
					}
					err := by.adopt()
					var errno syscall.Errno
					require.ErrorAs(t, err, &errno, by.name)
					require.NotErrorIs(t, err, ErrContract, by.name)
					if what != "no descriptor" {
						require.ErrorContains(t, err, "descriptor ", by.name)
					}
				}
				require.Empty(t, leak.Left(before))
				if what != "no descriptor" {
					require.True(t, sys.IsOpen(fd), "closed")
				}
			})
		}
	}
}

// A connection that has ended on both sides is imported like any other, and gives its end.
func TestImportEnded(t *testing.T) {
	overSockets(t, func(t *testing.T, tr Transport, at Addr) {
		a, b := pair(t, tr, at)
		require.NoError(t, a.CloseWrite())
		require.NoError(t, b.CloseWrite())
		require.Equal(t, io.EOF, expect.Err(a.Read(soon(t), make([]byte, 1))))
		s := expect.Open(tr.Import(duplicate(t, a), nil)).In(t)
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), make([]byte, 1))))
	})
}
