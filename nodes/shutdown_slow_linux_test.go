package nodes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A node that shuts down waits for a peer that reads slowly, as long as it reads.
func TestShutdownBesideSlowReader(t *testing.T) {
	const count, size = 15, 8_000 // in all no more than the node's system holds
	w := newWorld(t, "tcp")
	n, p := w.met("bob", func(c *Config) { c.QueueLimit = 8 << 20 })
	// else all may have arrived long before it is read
	require.NoError(t, rawpeer.Narrow(p.S, unix.SO_RCVBUF))
	c := w.conn(n, "wire@test")
	for range count {
		require.NoError(t, c.SendName(w.ctx(), "x", make([]byte, size)))
	}
	down := async(func() (int, error) { return 0, n.Shutdown(w.ctx()) })
	require.Eventually(t, c.l.Leaves, tooLong, tick)
	begin := time.Now()
	for i := range count {
		ctl, _ := p.Next()
		require.Equal(t, dist.OpRegSend, ctl.Op)
		require.NoError(t, p.tick(), "%d messages have been read", i)
		if time.Since(begin) <= farewell { // no longer than need be: what is left then is soon read
			time.Sleep(farewell / 10)
		}
	}
	require.Greater(t, time.Since(begin), farewell)
	p.Close()
	require.NoError(t, arrives(t, down, "Shutdown").err)
}
