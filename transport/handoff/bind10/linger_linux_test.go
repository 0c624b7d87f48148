package bind10

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Closing received descriptors that are not wanted does not wait, even if their sender has set
// SO_LINGER.
func TestUnwantedDoNotLinger(t *testing.T) {
	fdtest.DropsAtOnce(t, map[string]func(t *testing.T) func(){
		"the beginning of a session": func(t *testing.T) func() {
			f, r := sessions(t, nil)
			fdtest.Give(t, f, []byte{1}, fdtest.Lingering(t))
			require.Error(t, r.Receive(transport.NoWait(), &Session{}))
			return func() { require.NoError(t, r.Close()) }
		},
		"a session of another type": func(t *testing.T) func() {
			f, r := sessions(t, nil)
			_, h := v4(t) // of UDP
			wire := expect.NoError(appendSession(nil, &h, 1)).In(t)
			fdtest.Give(t, f, append(wire, 'x'), fdtest.Lingering(t))
			return func() { require.ErrorIs(t, r.Receive(fdtest.Soon(t), &Session{}), handoff.ErrMalformed) }
		},
	})
}
