package nodes

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// flooded runs f with a peer that asks a node for more answers than may wait for it, and has read none so far; asked is closed when it has
// asked for all.
func flooded(t *testing.T, f func(t *testing.T, p *wire, c *Conn, asked <-chan struct{})) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "memory")
		n := w.started("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
		p := w.peer(n.Listeners()[0], role("wire@test"))
		c, to, done := w.conn(n, "wire@test"), box(t, n).Pid(), make(chan struct{})
		go func() {
			defer close(done)
			for i := range floodAnswers {
				b, err := dist.AppendFrame(nil, &dist.Control{Op: dist.OpUnlinkID, ID: uint64(i + 1), From: p.self, To: to}, nil)
				if err != nil || p.write(b) != nil {
					return
				}
			}
		}()
		synctest.Wait()
		require.NoError(t, c.Err())
		require.True(t, c.q.Pressed())
		f(t, p, c, done)
	})
}

const floodAnswers = 50_000 // of 60 bytes each

// A peer that asks faster than it reads is not read for a while, and keeps its connection.
func TestFloodIsHeldUp(t *testing.T) {
	flooded(t, func(t *testing.T, p *wire, c *Conn, asked <-chan struct{}) {
		for i := range floodAnswers {
			ctl, _ := p.next()
			require.Equal(t, dist.OpUnlinkIDAck, ctl.Op)
			require.Equal(t, uint64(i+1), ctl.ID)
		}
		<-asked
		require.NoError(t, c.Err())
	})
}

// If the peer does not read at all the connection ends.
func TestFloodUnread(t *testing.T) {
	flooded(t, func(t *testing.T, _ *wire, c *Conn, _ <-chan struct{}) {
		time.Sleep(c.n.cfg.TickInterval + time.Second)
		synctest.Wait()
		require.ErrorIs(t, c.Err(), transport.ErrQueueFull)
	})
}

// A connection moves although its reader waits for the peer to read.
func TestFloodDoesNotHoldUpAFreeze(t *testing.T) {
	flooded(t, func(t *testing.T, _ *wire, c *Conn, _ <-chan struct{}) {
		began := time.Now()
		require.NoError(t, c.haltReader(t.Context()))
		require.Zero(t, time.Since(began))
		c.letReader()
		synctest.Wait()
		require.NoError(t, c.Err())
	})
}
