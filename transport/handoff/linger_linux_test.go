package handoff

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const lingerTime = time.Minute

// lingering makes a socket whose close would wait for lingerTime, because it has more to send than
// its peer takes. At the end of the test the peer reads, and must get everything.
func lingering(t *testing.T) int {
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

// give sends descriptors, and closes the sender's own.
func give(t *testing.T, c *Conn, p []byte, fds ...int) {
	t.Helper()
	require.NoError(t, c.Send(soon(t), p, fds...))
	for _, fd := range fds {
		require.NoError(t, unix.Close(fd))
	}
}

// Closing received descriptors that are not wanted does not wait, even if their sender has set
// SO_LINGER.
func TestUnwantedDoNotLinger(t *testing.T) {
	for name, drops := range map[string]func(t *testing.T) func(){
		"a document's set is closed": func(t *testing.T) func() {
			client, server := jsonPair(t)
			give(t, client.conn, []byte("{}"), lingering(t), lingering(t))
			set, err := server.Receive(soon(t), nil)
			require.NoError(t, err)
			return func() { require.NoError(t, set.Close()) }
		},
		"no JSON": func(t *testing.T) func() {
			client, server := jsonPair(t)
			give(t, client.conn, []byte("no JSON"), lingering(t), lingering(t))
			return func() {
				_, err := server.Receive(soon(t), nil)
				require.ErrorIs(t, err, ErrJSON)
			}
		},
		"no JSON in a file": func(t *testing.T) func() {
			client, server := jsonPair(t)
			give(t, client.conn, []byte(argsViaFD), lingering(t))
			return func() {
				_, err := server.Receive(soon(t), nil)
				require.ErrorIs(t, err, ErrMalformed)
			}
		},
		"a datagram is no JSON": func(t *testing.T) func() {
			client, server := jsonSockets(t, nil)
			give(t, client.conn, []byte("no JSON"), lingering(t))
			return func() {
				_, _, err := server.Receive(soon(t), nil)
				require.ErrorIs(t, err, ErrJSON)
			}
		},
		"too long": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			give(t, a, []byte("long"), lingering(t))
			return func() {
				_, err := b.Receive(soon(t), make([]byte, 1), &FDSet{}, 1)
				require.ErrorIs(t, err, ErrTruncated)
			}
		},
		"more than one attachment": func(t *testing.T) func() {
			one, other := messages(t, unix.SOCK_SEQPACKET, nil)
			wanted, err := unix.Dup(file(t, "f"))
			require.NoError(t, err)
			give(t, one.conn, []byte("x"), wanted, lingering(t))
			return func() {
				_, fd, err := other.ReceiveFD(soon(t))
				require.NoError(t, err)
				require.NoError(t, unix.Close(fd))
			}
		},
		"an attachment without its message": func(t *testing.T) func() {
			one, other := messages(t, unix.SOCK_STREAM, nil)
			give(t, one.conn, []byte{0x80, 0, 0, 2, 'x'}, lingering(t))
			_, _, err := other.ReceiveFD(transport.NoWait())
			require.Error(t, err)
			return func() { require.NoError(t, other.Close()) }
		},
		"beside a message": func(t *testing.T) func() {
			one, other := messages(t, unix.SOCK_STREAM, nil)
			give(t, one.conn, []byte{0, 0, 0, 1, 'x'}, lingering(t))
			return func() {
				_, _, err := other.ReceiveFD(soon(t))
				require.NoError(t, err)
			}
		},
		"the beginning of a session": func(t *testing.T) func() {
			f, r := sessions(t, nil)
			give(t, f.conn, []byte{1}, lingering(t))
			require.Error(t, r.Receive(transport.NoWait(), &Session{}))
			return func() { require.NoError(t, r.Close()) }
		},
		"a session of another type": func(t *testing.T) func() {
			f, r := sessions(t, nil)
			_, h := v4(t) // of UDP
			wire, err := appendSession(nil, &h, 1)
			require.NoError(t, err)
			give(t, f.conn, append(wire, 'x'), lingering(t))
			return func() { require.ErrorIs(t, r.Receive(soon(t), &Session{}), ErrMalformed) }
		},
		"no room": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			give(t, a, []byte("x"), lingering(t))
			return func() {
				_, err := b.Receive(soon(t), make([]byte, 1), nil, 0)
				require.ErrorIs(t, err, ErrDescriptorsLost)
			}
		},
		"no room beside much data": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			give(t, a, []byte("x"), lingering(t))
			return func() {
				_, err := b.Receive(soon(t), make([]byte, rawMax+1), nil, 0)
				require.ErrorIs(t, err, ErrDescriptorsLost)
			}
		},
		"no room in a batch": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			for range 3 {
				give(t, a, []byte("x"), lingering(t))
			}
			return func() { batched(t, b, rooms(3, 5, 0), 3) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drop := drops(t)
			begin := time.Now()
			drop()
			require.Less(t, time.Since(begin), lingerTime/2)
		})
	}
}
