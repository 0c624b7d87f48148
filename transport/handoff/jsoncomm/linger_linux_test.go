package jsoncomm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Closing received descriptors that are not wanted does not wait, even if their sender has set
// SO_LINGER.
func TestUnwantedDoNotLinger(t *testing.T) {
	fdtest.DropsAtOnce(t, map[string]func(t *testing.T) func(){
		"a document's set is closed": func(t *testing.T) func() {
			client, server := connPair(t)
			fdtest.Give(t, client, []byte("{}"), fdtest.Lingering(t), fdtest.Lingering(t))
			set := expect.NoError(server.Receive(fdtest.Soon(t), nil)).In(t)
			return func() { require.NoError(t, set.Close()) }
		},
		"no JSON": func(t *testing.T) func() {
			client, server := connPair(t)
			fdtest.Give(t, client, []byte("no JSON"), fdtest.Lingering(t), fdtest.Lingering(t))
			return func() {
				require.ErrorIs(t, expect.Err(server.Receive(fdtest.Soon(t), nil)), ErrDocument)
			}
		},
		"no JSON in a file": func(t *testing.T) func() {
			client, server := connPair(t)
			fdtest.Give(t, client, []byte(argsViaFD), fdtest.Lingering(t))
			return func() {
				require.ErrorIs(t, expect.Err(server.Receive(fdtest.Soon(t), nil)), handoff.ErrMalformed)
			}
		},
		"a datagram is no JSON": func(t *testing.T) func() {
			client, server := sockets(t, nil)
			fdtest.Give(t, client, []byte("no JSON"), fdtest.Lingering(t))
			return func() {
				require.ErrorIs(t, expect.Err2(server.Receive(fdtest.Soon(t), nil)), ErrDocument)
			}
		},
	})
}
