//go:build unix

package transport

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A connect to a port at which nobody listens is refused, even if the socket happens to have that
// port itself. The next listener gets the port.
func TestConnectMeetsItself(t *testing.T) {
	fd := expect.NoError(newSocketFD(loopback())).In(t)
	sa := expect.NoError(ToSockaddr(loopback())).In(t)
	require.NoError(t, unix.Bind(fd, sa))
	at := expect.NoError(localAddrFD(fd)).In(t)
	cb := TCPCallbacks()
	// as the system might choose the port
	cb.Socket = func(any, Addr) (int, error) { return fd, nil }
	require.ErrorIs(t, expect.Err(newPlugin(cb, nil, true).Connect(soon(t), at)), unix.ECONNREFUSED)
	l := expect.NoError(TCP().Listen(at, 0)).In(t)
	require.NoError(t, l.Close())
}
