package epmd

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff"
)

// The steps of most tests, which must succeed.

func register(t testing.TB, c *Client, r Registration) *Registered {
	t.Helper()
	registered, err := c.Register(t.Context(), r)
	require.NoError(t, err)
	return registered
}

func keep(t testing.TB, c *Client, r Registration, o *KeepOptions) *Keeper {
	t.Helper()
	k, err := c.Keep(t.Context(), r, o)
	require.NoError(t, err)
	return k
}

func resolve(t testing.TB, c *Client, name string) NodeInfo {
	t.Helper()
	info, err := c.Resolve(t.Context(), "", name)
	require.NoError(t, err)
	return info
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	return conn
}

func pipeTo(t testing.TB, l *pipeListener) net.Conn {
	t.Helper()
	conn, err := l.Dial(t.Context(), "", "")
	require.NoError(t, err)
	return conn
}

func write(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	_, err := w.Write(b)
	require.NoError(t, err)
}

// serving begins to serve a listener, and says with what that ends.
func serving(s *Server, l net.Listener) <-chan error {
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	return served
}

// freeze freezes a server or a keeper.
func freeze(t testing.TB, what interface {
	Freeze(ctx context.Context) (handoff.Frozen, error)
},
) handoff.Frozen {
	t.Helper()
	f, err := what.Freeze(t.Context())
	require.NoError(t, err)
	return f
}

func stage(t testing.TB, s *Server, state []byte, fds []int) *StagedServer {
	t.Helper()
	g, err := s.Stage(state, fds)
	require.NoError(t, err)
	return g
}
