//go:build unix

package tsocket

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A use of the descriptor that meets a Close gets the same error as any other operation.
func TestSyscallConnAfterClose(t *testing.T) {
	one, other := udpPair(t, "ipv4")
	for d, ends := range map[*Datagram]struct {
		by   func() error
		want error
	}{one: {one.Close, net.ErrClosed}, other: {other.Disconnect, syscall.ENOTCONN}} {
		raw, err := d.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, ends.by())
		require.ErrorIs(t, raw.Control(func(uintptr) {}), ends.want)
		require.ErrorIs(t, raw.Read(func(uintptr) bool { return true }), ends.want)
		require.ErrorIs(t, raw.Write(func(uintptr) bool { return true }), ends.want)
	}
}
