//go:build unix

package beam

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
)

// What is dropped is closed, and so are the descriptors that it has received and not returned.
func TestDroppedIsClosed(t *testing.T) {
	fdtest.ClosesDropped(t, map[string]func(t *testing.T, fd int){
		"message in part": func(t *testing.T, fd int) {
			a, b := fdtest.RawPair(t, unix.SOCK_STREAM)
			m := expect.NoError(NewConn(fdtest.UnixConn(t, b), nil)).In(t)
			require.NoError(t, unix.Sendmsg(a, []byte{0x80, 0, 0, 9, 'x'}, unix.UnixRights(fd), nil, 0))
			require.ErrorIs(t, expect.Err2(m.ReceiveFD(transport.NoWait())), os.ErrDeadlineExceeded)
			require.NoError(t, unix.Close(a))
		},
	}, map[string]func(c *net.UnixConn) error{
		"Conn": func(c *net.UnixConn) error { _, err := NewConn(c, nil); return err },
	})
}
