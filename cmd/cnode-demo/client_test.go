package main

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// A long --timeout applies to the handshake, too, which must not end earlier.
func TestHandshakeTime(t *testing.T) {
	within := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx
	}
	require.Equal(t, nodes.DefaultHandshakeTimeout, handshakeTime(t.Context()))
	require.Equal(t, nodes.DefaultHandshakeTimeout, handshakeTime(within(time.Second)))
	require.Greater(t, handshakeTime(within(time.Hour)), 59*time.Minute)
}

// A port mapper that does not answer is waited for as long as the command says, and no less.
func TestMuteMapper(t *testing.T) {
	for _, at := range []string{"auto", "127.0.0.1:1"} {
		r, err := (&options{epmd: at}).clientMapper()
		require.NoError(t, err)
		switch r := r.(type) {
		case *nodes.PortMapper:
			require.Negative(t, r.Client.Timeout)
		case *fixedMapper:
			require.Negative(t, r.Client.Timeout)
			require.Equal(t, at, r.Client.Addr)
		}
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	w := newWorld(t, l.Addr().(*net.TCPAddr).Port)
	out, errOut := w.fail("names", "--timeout", "30ms")
	require.Empty(t, out)
	require.Contains(t, errOut, "30ms passed")
	require.Contains(t, errOut, "wait longer with --timeout")
	_, errOut = w.fail("ping", "a@127.0.0.1", "--timeout", "30ms")
	require.Contains(t, errOut, "wait longer with --timeout")
}

// A name without a host gets a long or a short one, as the node that it is to be used with has.
func TestNameGetsHostLikeOwnNode(t *testing.T) {
	short, err := shortHost()
	require.NoError(t, err)
	for _, c := range []struct{ target, hostname, want string }{
		{"a@box", "box.example.org", short},
		{"a@::1", "box.example.org", "box.example.org"},
		{"a@127.0.0.1", "box.example.org", "box.example.org"},
		{"a@far.example.org", "box", "box.localdomain"},
	} {
		host, err := hostBeside(c.target, func() (string, error) { return c.hostname, nil })()
		require.NoError(t, err)
		require.Equal(t, c.want, host, "%s from %s", c.target, c.hostname)
	}
}
