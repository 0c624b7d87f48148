package jsoncomm

import (
	"testing"

	"github.com/stretchr/testify/require"

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
			set, err := server.Receive(fdtest.Soon(t), nil)
			require.NoError(t, err)
			return func() { require.NoError(t, set.Close()) }
		},
		"no JSON": func(t *testing.T) func() {
			client, server := connPair(t)
			fdtest.Give(t, client, []byte("no JSON"), fdtest.Lingering(t), fdtest.Lingering(t))
			return func() {
				_, err := server.Receive(fdtest.Soon(t), nil)
				require.ErrorIs(t, err, ErrDocument)
			}
		},
		"no JSON in a file": func(t *testing.T) func() {
			client, server := connPair(t)
			fdtest.Give(t, client, []byte(argsViaFD), fdtest.Lingering(t))
			return func() {
				_, err := server.Receive(fdtest.Soon(t), nil)
				require.ErrorIs(t, err, handoff.ErrMalformed)
			}
		},
		"a datagram is no JSON": func(t *testing.T) func() {
			client, server := sockets(t, nil)
			fdtest.Give(t, client, []byte("no JSON"), fdtest.Lingering(t))
			return func() {
				_, _, err := server.Receive(fdtest.Soon(t), nil)
				require.ErrorIs(t, err, ErrDocument)
			}
		},
	})
}
