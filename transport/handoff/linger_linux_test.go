package handoff

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// Closing received descriptors that are not wanted does not wait, even if their sender has set
// SO_LINGER.
func TestUnwantedDoNotLinger(t *testing.T) {
	fdtest.DropsAtOnce(t, map[string]func(t *testing.T) func(){
		"too long": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			fdtest.Give(t, a, []byte("long"), fdtest.Lingering(t))
			return func() {
				require.ErrorIs(t, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 1), &FDSet{}, 1)), ErrTruncated)
			}
		},
		"no room": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			fdtest.Give(t, a, []byte("x"), fdtest.Lingering(t))
			return func() {
				require.ErrorIs(t, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 1), nil, 0)), ErrDescriptorsLost)
			}
		},
		"no room beside much data": func(t *testing.T) func() {
			a, b := connPair(t, unix.SOCK_SEQPACKET)
			fdtest.Give(t, a, []byte("x"), fdtest.Lingering(t))
			return func() {
				_, err := b.Receive(fdtest.Soon(t), make([]byte, rawMax+1), nil, 0)
				require.ErrorIs(t, err, ErrDescriptorsLost)
			}
		},
	})
}
