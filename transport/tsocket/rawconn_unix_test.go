//go:build unix

package tsocket

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A use of the descriptor that meets a Close gets the same error as any other operation.
func TestSyscallConnAfterClose(t *testing.T) {
	one, other := udpPair(t, "ipv4")
	for d, ends := range map[*Datagram]struct {
		by   func() error
		want error
	}{one: {one.Close, net.ErrClosed}, other: {other.Disconnect, syscall.ENOTCONN}} {
		raw := expect.NoError(d.SyscallConn()).In(t)
		require.NoError(t, ends.by())
		require.ErrorIs(t, raw.Control(func(uintptr) {}), ends.want)
		require.ErrorIs(t, raw.Read(func(uintptr) bool { return true }), ends.want)
		require.ErrorIs(t, raw.Write(func(uintptr) bool { return true }), ends.want)
	}
}
