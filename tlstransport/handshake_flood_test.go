//go:build unix

package tlstransport

import (
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
	s, _ := newWorkbench(t, cfg, Options{Transport: below}).against(server, cfg)
	_, err = s.read(make([]byte, 1), tooLong)
	var e *PeerError
	require.ErrorAs(t, err, &e)
	require.Equal(t, FailureTLS, e.Failure)
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
}
