//go:build unix

package nodes

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A connection moves again and again while large messages are under way in both directions, several
// at a time in each: they arrive whole and once, in the order of each sender, with small messages
// of others between their fragments.
func TestMoveAmidFragments(t *testing.T) {
	size := 1 << 20
	if testing.Short() {
		size /= 4
	}
	l := load{senders: 4, narrow: true, moves: 20, message: func(i int64) ei.Term {
		if i%2 == 1 {
			return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, 10))}
		}
		return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, size))}
	}}
	inWorlds(t, movers, l.move)
	l.flags = dist.FlagsDefault &^ dist.FlagDistHdrAtomCache
	t.Run("without atom cache", func(t *testing.T) { l.move(t, newWorld(t, movers[0])) })
}

// A connection moves in the middle of two messages of 1 GB, one each way (CNODE_TEST_LARGE=1; else
// of 100 MB, or of 10 MB where it is to be short or the race detector looks at each byte).
func TestMoveAmidLargest(t *testing.T) {
	size := 100 << 20
	if race.Enabled || testing.Short() {
		size = 10 << 20
	}
	if os.Getenv("CNODE_TEST_LARGE") != "" {
		size = 1 << 30
	}
	w := newWorld(t, "unix")
	limits := func(c *Config) { c.MaxFrame, c.OverflowLimit = 2<<30-1, 8<<30 }
	peer := w.started("peer", limits)
	r := w.shuttle("peer@test", true, limits)
	payload := encode(t, ei.Binary(make([]byte, size)))
	came := make(chan int, 2)
	for _, n := range []*Node{peer, r.n[0], r.n[1]} {
		handle(t, n, "sink", func(_ *Mailbox, m *Message) { came <- len(m.Payload) })
	}
	c, there := r.c, w.conn(peer, "mover@test")
	for _, s := range []*transport.Stream{c.l.Stream(), there.l.Stream()} {
		require.NoError(t, errors.Join(rawpeer.Narrow(s, unix.SO_SNDBUF), rawpeer.Narrow(s, unix.SO_RCVBUF)))
	}
	require.NoError(t, there.l.StopReading(w.ctx())) // so that the one to the peer is not there before the move
	for _, from := range []*Conn{c, there} {
		go func() { assert.NoError(t, from.SendNameRaw(w.ctx(), "sink", payload)) }()
	}
	for deadline := time.Now().Add(tooLong); c.l.Traffic().BytesReceived < int64(size/4); runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "it does not come")
	}
	m := detach(t, c)
	there.l.ResumeReading()
	require.Greater(t, len(m.State), size/2)
	adopt(t, r.n[1], m)
	for range 2 {
		require.Equal(t, len(payload), arrives(t, came, "a message"))
	}
}
