package nodes

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// askMuch has a peer ask for so many answers without reading one. asked is closed when all has been asked.
func askMuch(t *testing.T, n *Node, p *wire, many int) (asked <-chan struct{}) {
	done, to := make(chan struct{}), box(t, n).Pid()
	go func() {
		defer close(done)
		for i := range many {
			b, err := dist.AppendFrame(nil, &dist.Control{Op: dist.OpUnlinkID, ID: uint64(i + 1), From: p.self, To: to}, nil)
			if err != nil || p.write(b) != nil {
				return
			}
		}
	}()
	return done
}

// A peer that asks faster than it reads is not read for a while, and keeps its connection.
func TestFloodIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "memory")
		n := w.started("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
		p := w.peer(n.Listeners()[0], role("wire@test"))
		c := w.conn(n, "wire@test")
		const many = 50_000 // the answers take 60 bytes each
		asked := askMuch(t, n, p, many)
		synctest.Wait()
		require.NoError(t, c.Err())
		require.True(t, c.q.Pressed())
		for i := range many {
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
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "memory")
		n := w.started("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
		p := w.peer(n.Listeners()[0], role("wire@test"))
		c := w.conn(n, "wire@test")
		askMuch(t, n, p, 50_000)
		synctest.Wait()
		require.NoError(t, c.Err())
		time.Sleep(c.n.cfg.TickInterval + time.Second)
		synctest.Wait()
		require.ErrorIs(t, c.Err(), transport.ErrQueueFull)
	})
}

// A connection moves although its reader waits for the peer to read.
func TestFloodDoesNotHoldUpAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "memory")
		n := w.started("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
		p := w.peer(n.Listeners()[0], role("wire@test"))
		c := w.conn(n, "wire@test")
		askMuch(t, n, p, 50_000)
		synctest.Wait()
		require.True(t, c.q.Pressed())
		began := time.Now()
		require.NoError(t, c.haltReader(t.Context()))
		require.Zero(t, time.Since(began))
		c.letReader()
		synctest.Wait()
		require.NoError(t, c.Err())
	})
}
