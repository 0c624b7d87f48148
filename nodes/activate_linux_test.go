package nodes

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
)

// A plug-in of somebody else's may speak over sockets of another type (ListenSequentialPacket= of
// systemd.socket(5)).
func TestActivateFitsPackets(t *testing.T) {
	socket := func(kind int) int {
		fd := of(syscall.Socket(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)).must(t)
		t.Cleanup(func() { syscall.Close(fd) })
		require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{}))
		return fd
	}
	packets, datagrams := socket(syscall.SOCK_SEQPACKET), socket(syscall.SOCK_DGRAM)
	require.NoError(t, syscall.Listen(packets, 1))
	theirs := Endpoint{Transport: renamed{transport.Unix(), "packets"}}
	require.NoError(t, fits(packets, theirs))
	require.ErrorContains(t, fits(packets, Endpoint{Transport: transport.Unix()}), "not one of streams")
	require.ErrorContains(t, fits(datagrams, theirs), "not one of streams")
}
