//go:build unix

package tlstransport

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A peer that sends without end, and faster than it is read, cannot keep a failed handshake from
// ending. The bytes are made up here, since no real connection is as fast for as long.
func TestFailedHandshakeUnderFlood(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	flooded := transport.TCPCallbacks()
	flooded.Read = func(_ int, b []byte, _ time.Duration) (int, error) { return len(b), nil }
	below, err := transport.New(flooded, nil)
	require.NoError(t, err)
	cb, err := Callbacks(Config{Server: cfg, Client: cfg, Options: Options{Transport: below}})
	require.NoError(t, err)
	l, err := cb.Socket(nil, loopback(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, cb.Close(l)) }()
	at, err := cb.Listen(l, loopback(t), 10)
	require.NoError(t, err)
	raw, err := net.Dial("tcp", at.String())
	require.NoError(t, err)
	defer raw.Close()
	s, _, err := cb.Accept(l, tooLong)
	require.NoError(t, err)
	_, err = cb.Read(s, make([]byte, 1), tooLong)
	var e *PeerError
	require.ErrorAs(t, err, &e)
	require.Equal(t, FailureTLS, e.Failure)
	require.NoError(t, cb.Close(s))
}

// TLS needs a stream of bytes, so it says what is wrong with a transport that keeps packets.
func TestTransportOfPackets(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	cb := transport.TCPCallbacks()
	cb.Name, cb.HandshakePacketHeaderSize = "packets", func(int) (int, error) { return 0, nil }
	below, err := transport.New(cb, nil)
	require.NoError(t, err)
	w := newWorkbench(t, cfg, Options{Transport: below})
	require.Equal(t, "TLS over packets", w.cb.Name)
	c, err := w.cb.Socket(nil, w.at)
	require.NoError(t, err)
	require.NoError(t, w.cb.Connect(c, w.at, tooLong))
	_, err = w.cb.Write(c, []byte("x"), tooLong)
	require.ErrorContains(t, err, "the transport below TLS keeps packets")
	require.NoError(t, w.cb.Close(c))
}
