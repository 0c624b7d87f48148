package main

import (
	"context"
	"testing"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// --timeout, where it is long, is the handshake's too: it must not end before.
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

// A name without a host gets one as long or as short as that of the node which it is to be used with.
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
