//go:build unix

package transport

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A connect to a port at which nobody listens is refused, even if the socket happens to have that
// port itself. The next listener gets the port.
func TestConnectMeetsItself(t *testing.T) {
	fd, err := newSocketFD(loopback())
	require.NoError(t, err)
	sa, err := ToSockaddr(loopback())
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, sa))
	at, err := localAddrFD(fd)
	require.NoError(t, err)
	cb := TCPCallbacks()
	// as the system might choose the port
	cb.Socket = func(any, Addr) (int, error) { return fd, nil }
	_, err = newPlugin(cb, nil, true).Connect(soon(t), at)
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	l, err := TCP().Listen(at, 0)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}
