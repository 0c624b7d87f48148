package transport

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Something large that is no answer is acknowledged as it is read: the kernel by itself would wait
// for 40 ms, or for another segment.
func TestLargeFlowIsAcknowledgedAtOnce(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	read := func(p []byte) {
		_, err := c.Readv(t.Context(), p)
		require.NoError(t, err)
	}
	raw, err := s.SyscallConn()
	require.NoError(t, err)
	unacknowledged := func() (n uint32) {
		require.NoError(t, raw.Control(func(fd uintptr) {
			var info *unix.TCPInfo
			if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				n = info.Unacked
			}
		}))
		require.NoError(t, err)
		return n
	}
	for range 10 { // after an exchange of messages the kernel delays its acknowledgements
		_, err := c.Writev(t.Context(), []byte("question"))
		require.NoError(t, err)
		_, err = s.Readv(t.Context(), make([]byte, 8))
		require.NoError(t, err)
		_, err = s.Writev(t.Context(), []byte("answer"))
		require.NoError(t, err)
		read(make([]byte, 6))
	}
	const rounds = 16
	soon := 0
	p := make([]byte, 60_000) // less than a segment of the loopback
	for range rounds {
		_, err := s.Writev(t.Context(), p)
		require.NoError(t, err)
		read(p)
		for began := time.Now(); time.Since(began) < 10*time.Millisecond; {
			if unacknowledged() == 0 {
				soon++
				break
			}
		}
	}
	// the kernel by itself would acknowledge every second one
	require.Greater(t, soon, 3*rounds/4)
}

// Connections within a machine are not paced; for others the system's choice stands.
func TestCongestionControlWithinTheMachine(t *testing.T) {
	control := func(fd int) string {
		name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		require.NoError(t, err)
		return name
	}
	opened := func(at string) int {
		addr, err := ParseAddr(at)
		require.NoError(t, err)
		fd, err := TCPCallbacks().Socket(nil, addr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, sys.Close(fd)) })
		return fd
	}
	system := control(opened("0.0.0.0:0"))
	within := system
	if strings.HasPrefix(system, "bbr") {
		within = "reno"
	}
	require.Equal(t, system, control(opened("192.0.2.1:1")))
	require.Equal(t, within, control(opened("127.0.0.1:0")))
	require.Equal(t, within, control(opened("127.1.2.3:4")))
	require.Equal(t, within, control(opened("[::ffff:127.0.0.1]:0")))
	c, s := pair(t, TCP(), loopback())
	for _, end := range []*Stream{c, s} {
		require.Equal(t, within, control(end.car.(*ready[int]).fd))
	}

	// Those that the kernel has may be more: root's only.
	known, err := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
	require.NoError(t, err)
	for _, name := range strings.Fields(string(known)) {
		fd := opened("0.0.0.0:0")
		require.NoError(t, unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
		sys.Unpace(fd)
		if strings.HasPrefix(name, "bbr") {
			name = "reno"
		}
		require.Equal(t, name, control(fd))
	}
}
