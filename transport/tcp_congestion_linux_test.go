package transport

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Something large that is no answer is acknowledged as it is read: the kernel by itself would wait
// for 40 ms, or for another segment.
func TestLargeFlowIsAcknowledgedAtOnce(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	read := func(p []byte) {
		require.NoError(t, expect.Err(c.Readv(t.Context(), p)))
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
		require.NoError(t, expect.Err(c.Writev(t.Context(), []byte("question"))))
		require.NoError(t, expect.Err(s.Readv(t.Context(), make([]byte, 8))))
		require.NoError(t, expect.Err(s.Writev(t.Context(), []byte("answer"))))
		read(make([]byte, 6))
	}
	const rounds = 16
	soon := 0
	p := make([]byte, 60_000) // less than a segment of the loopback
	for range rounds {
		require.NoError(t, expect.Err(s.Writev(t.Context(), p)))
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
		return expect.NoError(unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)).In(t)
	}
	opened := func(at string) int {
		addr := expect.NoError(ParseAddr(at)).In(t)
		fd := expect.NoError(TCPCallbacks().Socket(nil, addr)).In(t)
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
	known := expect.NoError(os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")).In(t)
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
