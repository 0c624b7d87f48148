package nodes

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A slow handshake keeps the goroutine that accepts, and another one takes its place. Once handshakes are quick again no other is needed.
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

// If a handshake on the goroutine that accepts takes a while, another goroutine takes over, once only.
func TestRelief(t *testing.T) {
	var none *relief
	none.watch()
	synctest.Test(t, func(t *testing.T) {
		var p pace
		next := 0
		comes := func() { next++ }
		o := new(opening)
		require.True(t, p.here(o, func() { time.Sleep(quickHandshake) }, comes), "nothing was to take a while")
		require.True(t, p.slow.Load(), "but it did: the next handshakes are not done here")
		p.slow.Store(false)
		require.True(t, p.here(o, func() { o.relief.watch(); time.Sleep(quickHandshake - 1) }, comes))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, next)
		require.False(t, p.slow.Load())
		require.False(t, p.here(o, func() {
			for range 2 {
				o.relief.watch()
				time.Sleep(quickHandshake + 1)
			}
		}, comes))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 1, next)
		require.True(t, p.slow.Load())
	})
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
