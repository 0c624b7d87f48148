//go:build unix

package nodes

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// A connection moves again and again while large messages are under way in both directions, several
// at a time in each: they arrive whole and once, in the order of each sender, with small messages
// of others between their fragments.
func TestMoveAmidFragments(t *testing.T) {
	for _, kind := range movers {
		t.Run(kind, func(t *testing.T) { moveAmidFragments(t, kind, 0) })
	}
	t.Run("without atom cache", func(t *testing.T) {
		moveAmidFragments(t, movers[0], dist.FlagsDefault&^dist.FlagDistHdrAtomCache)
	})
}

func moveAmidFragments(t *testing.T, kind string, flags dist.Flags) {
	const senders = 4
	size, each := 1<<20, 5
	if testing.Short() {
		size, each = size/4, 3
	}
	w := newWorld(t, kind)
	peer := w.started("peer")
	r := w.shuttle("peer@test", true, func(c *Config) { c.Flags = flags })
	there := w.conn(peer, "mover@test")
	for _, s := range []*transport.Stream{r.c.l.Stream(), there.l.Stream()} {
		require.NoError(t, errors.Join(rawpeer.Narrow(s, unix.SO_SNDBUF), rawpeer.Narrow(s, unix.SO_RCVBUF)))
	}
	require.NoError(t, there.l.StopReading(w.ctx())) // so that the first move is amid messages to the peer
	var in, out [senders]*numbers
	sink := func(of *[senders]*numbers) Handler {
		return func(_ *Mailbox, m *Message) {
			c := ei.NewCursor(m.Payload)
			_, err := c.Tuple()
			require.NoError(t, err)
			i, err := c.Int()
			require.NoError(t, err)
			raw, err := c.Raw()
			require.NoError(t, err)
			of[i].take(&Message{Payload: raw})
		}
	}
	for i := range senders {
		in[i], out[i] = newNumbers(-1), newNumbers(int64(each))
	}
	for _, n := range r.n {
		handle(t, n, "sink", sink(&in))
	}
	handle(t, peer, "sink", sink(&out))
	var current sync.Mutex // guards r.c for the senders
	var amid atomic.Bool   // a move was amid messages that came; until then more of them come
	limit := w.ctx()
	numbered := func(sender, i int) ei.Term {
		length := size
		if i%2 == 1 {
			length = 10
		}
		return ei.Tuple{ei.Int(sender), ei.Tuple{ei.Int(i), ei.Binary(make([]byte, length))}}
	}
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			b := box(t, peer)
			i := 0
			for ; i < each || !amid.Load() && limit.Err() == nil; i++ {
				require.NoError(t, b.SendName(w.ctx(), "mover@test", "sink", numbered(sender, i)))
			}
			in[sender].finish(int64(i))
		})
		wg.Go(func() {
			for i := 0; i < each; {
				current.Lock()
				c := r.c
				current.Unlock()
				payload := encode(t, numbered(sender, i))
				from := ei.Pid{Node: "mover@test", ID: uint32(sender), Creation: 4711}
				err := c.SendControl(w.ctx(), &dist.Control{Op: dist.OpRegSend, From: from, ToName: "sink"}, payload)
				switch {
				case err == nil:
					i++
				case errors.Is(err, ErrMoved):
					<-c.l.Left()
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	sent := make(chan struct{})
	go func() { wg.Wait(); close(sent) }()
	moves, amidIn, amidOut := 0, 0, 0
	for going := true; going || moves < 20; moves++ {
		select {
		case <-sent:
			going = false
		default:
		}
		if moves == 0 {
			require.Eventually(t, func() bool { return r.c.l.Traffic().BytesQueued > size }, tooLong, tick)
		}
		m, err := r.c.Detach(w.ctx())
		require.NoError(t, err)
		if moves == 0 {
			there.l.ResumeReading()
		}
		var s states.Conn
		require.NoError(t, form.Read(states.KindConn, m.State, &s))
		amidIn, amidOut = amidIn+min(len(s.Incoming), 1), amidOut+min(len(s.Outgoing), 1)
		amid.Store(amidIn > 0)
		r.here = 1 - r.here
		c, err := r.n[r.here].Adopt(w.ctx(), m)
		require.NoError(t, err)
		before := c.l.Traffic().BytesReceived
		current.Lock()
		r.c = c
		current.Unlock()
		for deadline := time.Now().Add(tick); going && c.l.Traffic().BytesReceived == before && time.Now().Before(deadline); {
			runtime.Gosched()
		}
	}
	for i := range senders {
		in[i].wait(t, "to the mover")
		out[i].wait(t, "to the peer")
	}
	t.Logf("%d moves, %d amid messages that came, %d amid messages that went", moves, amidIn, amidOut)
	require.NotZero(t, amidIn)
	require.NotZero(t, amidOut)
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
	m, err := c.Detach(w.ctx())
	require.NoError(t, err)
	there.l.ResumeReading()
	require.Greater(t, len(m.State), size/2)
	_, err = r.n[1].Adopt(w.ctx(), m)
	require.NoError(t, err)
	for range 2 {
		select {
		case n := <-came:
			require.Equal(t, len(payload), n)
		case <-time.After(tooLong):
			require.FailNow(t, "a message is lost")
		}
	}
}
