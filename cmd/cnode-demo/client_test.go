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
