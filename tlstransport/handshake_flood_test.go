//go:build unix

package tlstransport

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A peer that sends without end, and faster than it is read, cannot keep a failed handshake from
// ending. The bytes are made up here, since no real connection is as fast for as long.
func TestFailedHandshakeUnderFlood(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	cb, p, err := build(fixed{server: cfg, client: cfg}, map[role]bool{server: true, client: true}, Options{})
	require.NoError(t, err)
	p.tcp.Read = func(_ int, b []byte, _ time.Duration) (int, error) { return len(b), nil }
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
