//go:build unix

package bind10

import (
	"net"
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
		"bytes read ahead": func(t *testing.T, fd int) {
			a, b := fdtest.RawPair(t, unix.SOCK_STREAM)
			r := expect.NoError(NewReceiver(fdtest.UnixConn(t, b), nil)).In(t)
			require.NoError(t, unix.Sendmsg(a, []byte{0, 1}, unix.UnixRights(fd), nil, 0))
			require.Error(t, r.Receive(transport.NoWait(), new(Session)))
			require.NoError(t, unix.Close(a))
		},
	}, map[string]func(c *net.UnixConn) error{
		"Forwarder": func(c *net.UnixConn) error { _, err := NewForwarderConn(c); return err },
		"Receiver":  func(c *net.UnixConn) error { _, err := NewReceiver(c, nil); return err },
	})
}
