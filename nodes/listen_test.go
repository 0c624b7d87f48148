package nodes

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// Config.HandshakeFailed may close the listener.
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

// A connection that no Accept has returned yet does not keep others from coming.
func TestNobodyAcceptsFor(t *testing.T) {
	w := newWorld(t, "tcp")
	b, l := w.listening("bob")
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	for i := range 4 {
		a := w.node(fmt.Sprint("alice", i))
		_, err := a.Connect(w.ctx(), b.Name())
		require.NoError(t, err)
	}
	require.NoError(t, arrives(t, accepted, "the first connection").err)
	for range 3 {
		_, err := l.Accept(w.ctx())
		require.NoError(t, err)
	}
}

// A node that is closed says so, though somebody else has the address by now.
func TestListenAfterClose(t *testing.T) {
	w := newWorld(t, "tcp")
	a, l := w.listening("alice")
	at := l.Addr()
	require.NoError(t, a.Close())
	other, err := w.tr.Listen(at, 0)
	require.NoError(t, err)
	defer other.Close()
	_, err = a.Listen(w.ctx(), at)
	require.ErrorIs(t, err, ErrClosed)
}
