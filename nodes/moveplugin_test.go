//go:build unix

package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// immovable is TCP without Import.
func immovable(t testing.TB) transport.Transport {
	cb := transport.TCPCallbacks()
	cb.Name, cb.Import = "stuck", nil
	tr, err := transport.New(cb, nil)
	require.NoError(t, err)
	return tr
}

// talkative is TCP whose Close says goodbye, as TLS does, and whose Release must not.
func talkative(t testing.TB) transport.Transport {
	cb := transport.TCPCallbacks()
	cb.Name = "talkative"
	cb.Close = func(fd int) error {
		_, _ = unix.Write(fd, []byte("bye"))
		return unix.Close(fd)
	}
	tr, err := transport.New(cb, nil)
	require.NoError(t, err)
	return tr
}

// Neither the end of a connection in the old process nor a discarded one in the new says anything to the peer.
func TestMoveSaysNothing(t *testing.T) {
	w := newWorld(t, "tcp")
	_, l := w.listening("peer")
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	r := w.shuttle("peer@test", true, func(c *Config) { c.Transport = talkative(t) })
	p := (<-accepted).v
	for i := range 5 {
		f, err := r.c.Freeze(w.ctx())
		require.NoError(t, err)
		fd, err := duplicate(f.Descriptor())
		require.NoError(t, err)
		s, err := r.n[1-r.here].Stage(f.State(), fd)
		require.NoError(t, err)
		require.NoError(t, s.Discard())
		f.Thaw()
		r.move()
		require.NoError(t, r.c.Send(w.ctx(), p.Self(), i))
		m, err := p.Receive(w.ctx())
		require.NoError(t, err)
		require.Equal(t, p.Self(), m.To)
	}
}
