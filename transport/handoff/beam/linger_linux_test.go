package beam

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
)

// Closing received descriptors that are not wanted does not wait, even if their sender has set
// SO_LINGER.
func TestUnwantedDoNotLinger(t *testing.T) {
	fdtest.DropsAtOnce(t, map[string]func(t *testing.T) func(){
		"more than one attachment": func(t *testing.T) func() {
			one, other := messages(t, unix.SOCK_SEQPACKET, nil)
			wanted := expect.NoError(unix.Dup(fdtest.File(t, "f"))).In(t)
			fdtest.Give(t, one, []byte("x"), wanted, fdtest.Lingering(t))
			return func() {
				_, fd, err := other.ReceiveFD(fdtest.Soon(t))
				require.NoError(t, err)
				require.NoError(t, unix.Close(fd))
			}
		},
		"an attachment without its message": func(t *testing.T) func() {
			one, other := messages(t, unix.SOCK_STREAM, nil)
			fdtest.Give(t, one, []byte{0x80, 0, 0, 2, 'x'}, fdtest.Lingering(t))
			require.Error(t, expect.Err2(other.ReceiveFD(transport.NoWait())))
			return func() { require.NoError(t, other.Close()) }
		},
		"beside a message": func(t *testing.T) func() {
			one, other := messages(t, unix.SOCK_STREAM, nil)
			fdtest.Give(t, one, []byte{0, 0, 0, 1, 'x'}, fdtest.Lingering(t))
			return func() {
				require.NoError(t, expect.Err2(other.ReceiveFD(fdtest.Soon(t))))
			}
		},
	})
}
