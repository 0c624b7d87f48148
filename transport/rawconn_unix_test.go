//go:build unix

package transport

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A use of the descriptor that meets a Close gets the same error as any other operation.
func TestSyscallConnAfterClose(t *testing.T) {
	for name, tr := range map[string]Transport{"tcp": TCP(), "somebody's own": made(t, TCPCallbacks())} {
		c, _ := pair(t, tr, loopback())
		raw := expect.NoError(c.SyscallConn()).In(t)
		require.NoError(t, c.Close())
		requireClosed(t, raw, net.ErrClosed)
		require.ErrorIs(t, expect.Err(c.Descriptor()), net.ErrClosed, name)
		require.ErrorIs(t, expect.Err(c.car.pending()), net.ErrClosed, name)
	}
}

// A use of the descriptor for writing that waits, or begins, when CloseWrite ends the direction
// gets the error of a write. Reading goes on.
func TestSyscallConnAfterCloseWrite(t *testing.T) {
	c, s := pair(t, Unix(), socketPath(t))
	raw := expect.NoError(c.SyscallConn()).In(t)
	full := make(chan struct{}, 1)
	waits := expect.Aside(func() error {
		return raw.Write(func(uintptr) bool { // as if there were no room
			select {
			case full <- struct{}{}:
			default:
			}
			return false
		})
	})
	expect.Returns(t, full)
	require.NoError(t, c.CloseWrite())
	require.ErrorIs(t, expect.Returns(t, waits), syscall.EPIPE)
	require.ErrorIs(t, raw.Write(func(uintptr) bool { return false }), syscall.EPIPE)
	requireWrites(t, s, "x")
	requireReads(t, c, "x")
}

func requireClosed(t *testing.T, raw syscall.RawConn, want error) {
	t.Helper()
	require.ErrorIs(t, raw.Control(func(uintptr) {}), want)
	require.ErrorIs(t, raw.Read(func(uintptr) bool { return true }), want)
	require.ErrorIs(t, raw.Write(func(uintptr) bool { return true }), want)
}
