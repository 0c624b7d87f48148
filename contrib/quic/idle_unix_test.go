//go:build unix

package cnodequic

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
)

// spent is the processor time of this process so far.
func spent(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A thousand connections of which nothing is wanted do nothing before a node's tick would. What
// may come is the first packet that keeps a connection alive, and its acknowledgement, if it took
// long to make all of them.
func TestIdle(t *testing.T) {
	const connections, quiet = 1000, 10 * time.Second
	need.Long(t, 25*time.Second)
	p := newLocal(t)
	before := runtime.NumGoroutine()
	l, at, err := p.listen(transport.FromNetAddr(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}), 1)
	require.NoError(t, err)
	var all []*Socket
	for range connections {
		c := p.newSocket()
		require.NoError(t, c.connect(at, time.Minute))
		s := <-l.ready
		for _, way := range [][2]*Socket{{c, s}, {s, c}} {
			_, err := way[0].write([]byte("x"), time.Minute)
			require.NoError(t, err)
			_, err = way[1].read(make([]byte, 1), time.Minute)
			require.NoError(t, err)
		}
		all = append(all, c, s)
	}
	t.Logf("%d goroutines a connection, both ends", (runtime.NumGoroutine()-before)/connections)
	packets := func() (n uint64) {
		for _, s := range all {
			n += s.conn.ConnectionStats().PacketsSent
		}
		return n
	}
	require.Eventually(t, func() bool { // acknowledgements, and the search for the size of packets, have an end
		n := packets()
		time.Sleep(time.Second)
		return packets() == n
	}, time.Minute, time.Millisecond)
	sent, used := packets(), spent(t)
	time.Sleep(quiet)
	used = spent(t) - used
	t.Logf("%d connections, both ends here, for %v: %d packets, %v of processor time", connections, quiet, packets()-sent, used)
	require.LessOrEqual(t, packets()-sent, uint64(2*len(all)))
	for _, s := range all {
		_ = s.abort()
	}
	l.close()
}
