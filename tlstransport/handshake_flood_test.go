//go:build unix

package tlstransport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// A peer that sends without end, and faster than it is read, cannot keep a failed handshake from
// ending. The bytes are made up here, since no real connection is as fast for as long.
func TestFailedHandshakeUnderFlood(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	flooded := transport.TCPCallbacks()
	flooded.Read = func(_ int, b []byte, _ time.Duration) (int, error) { return len(b), nil }
	below := expect.NoError(transport.New(flooded, nil)).In(t)
	s, _ := newWorkbench(t, cfg, Options{Transport: below}).against(server, cfg)
	e := expect.As[*PeerError](t, expect.Err(s.read(make([]byte, 1), tooLong)))
	require.Equal(t, FailureTLS, e.Failure)
}

// TLS needs a stream of bytes, so it says what is wrong with a transport that keeps packets.
func TestTransportOfPackets(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	cb := transport.TCPCallbacks()
	cb.Name, cb.HandshakePacketHeaderSize = "packets", func(int) (int, error) { return 0, nil }
	below := expect.NoError(transport.New(cb, nil)).In(t)
	w := newWorkbench(t, cfg, Options{Transport: below})
	require.Equal(t, "TLS over packets", w.cb.Name)
	c := expect.NoError(w.cb.Socket(nil, w.at)).In(t)
	require.NoError(t, w.cb.Connect(c, w.at, tooLong))
	require.ErrorContains(t, expect.Err(w.cb.Write(c, []byte("x"), tooLong)), "the transport below TLS keeps packets")
}
