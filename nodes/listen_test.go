package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A peer that takes its time costs the goroutine that accepts; another one takes its place. Once peers are quick again none is needed.
func TestSlowHandshakeIsRelieved(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	l := b.Listeners()[0]
	require.False(t, l.pace.slow.Load())
	for range 3 {
		slow := w.wire(l)
		require.Eventually(t, func() bool { return l.pace.slow.Load() }, tooLong, tick)
		require.Eventually(t, func() bool {
			a := w.node("alice")
			_, err := a.Connect(w.ctx(), "bob@test")
			require.NoError(t, err)
			require.NoError(t, a.Close())
			return !l.pace.slow.Load()
		}, tooLong, tick, "no handshake took less than %v", quickHandshake)
		require.NoError(t, slow.s.Close())
	}
	require.NoError(t, l.Close())
	require.True(t, l.runs.None())
}

// Who hears of a failed handshake may close the listener.
func TestCloseListenerFromHandshakeFailed(t *testing.T) {
	w := newWorld(t, "tcp")
	closed := make(chan error, 1)
	var l *Listener
	w.started("bob", func(cfg *Config) {
		cfg.Setup = func(n *Node) error { l = n.Listeners()[0]; return nil }
		cfg.HandshakeFailed = func(transport.Addr, error) { closed <- l.Close() }
	})
	p := w.wire(l)
	require.NoError(t, p.write([]byte("GET / HTTP/1.1\r\n\r\n")))
	require.NoError(t, arrives(t, closed, "the end of Close"))
	require.ErrorIs(t, l.Err(), ErrClosed)
}
