//go:build unix

package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crowd connects so many peers, played by the test, to a node.
func (w *world) crowd(l *Listener, size int) {
	w.t.Helper()
	var wg sync.WaitGroup
	tokens := make(chan struct{}, 64)
	for i := range size {
		tokens <- struct{}{}
		wg.Go(func() {
			defer func() { <-tokens }()
			w.peer(l, role(fmt.Sprintf("p%d@test", i)))
		})
	}
	wg.Wait()
	require.Eventually(w.t, func() bool { return len(l.n.Peers()) == size }, tooLong, tick)
}

// BenchmarkMoveConn moves one connection under load both ways: as much as the processors give,
// which the two ends share here, and at a pace. The time from the beginning of the freeze to the
// first message from the peer elsewhere is what the peer may notice; the parts of it are the freeze
// and release, the adoption, and the rest.
func BenchmarkMoveConn(b *testing.B) {
	b.Run("saturated", func(b *testing.B) { benchmarkMoveConn(b, 0) })
	b.Run("20000-a-second", func(b *testing.B) { benchmarkMoveConn(b, time.Millisecond) })
}

func benchmarkMoveConn(b *testing.B, pause time.Duration) {
	w := newWorld(b, "tcp")
	ctx := context.Background()
	peer := w.started("peer", func(c *Config) { c.TickInterval = time.Hour })
	r := w.shuttle("peer@test", true, func(c *Config) { c.TickInterval = time.Hour })
	for _, n := range []*Node{peer, r.n[0], r.n[1]} {
		handle(b, n, "sink", func(_ *Mailbox, m *Message) { m.Release() })
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var current sync.Mutex
	stream := func(conn func() *Conn) {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c := conn()
			if err := c.SendName(ctx, "sink", make([]byte, 100)); errors.Is(err, ErrMoved) {
				<-c.l.Left()
			}
			if pause > 0 && i%20 == 0 {
				time.Sleep(pause)
			}
		}
	}
	back := peer.Conn("mover@test")
	wg.Go(func() { stream(func() *Conn { return back }) })
	wg.Go(func() {
		stream(func() *Conn {
			current.Lock()
			defer current.Unlock()
			return r.c
		})
	})
	var detach, adopt, first []time.Duration
	var silences []time.Duration
	for b.Loop() {
		begin := time.Now()
		m, err := r.c.Detach(ctx)
		require.NoError(b, err)
		detached := time.Now()
		r.here = 1 - r.here
		c, err := r.n[r.here].Adopt(ctx, m)
		require.NoError(b, err)
		adopted := time.Now()
		before := c.l.Traffic().MessagesReceived
		current.Lock()
		r.c = c
		current.Unlock()
		for c.l.Traffic().MessagesReceived == before {
			time.Sleep(10 * time.Microsecond)
		}
		end := time.Now()
		detach, adopt = append(detach, detached.Sub(begin)), append(adopt, adopted.Sub(detached))
		first, silences = append(first, end.Sub(adopted)), append(silences, end.Sub(begin))
		time.Sleep(time.Millisecond) // load builds up again
	}
	close(stop)
	wg.Wait()
	for unit, d := range map[string][]time.Duration{"µs-detach": detach, "µs-adopt": adopt, "µs-first": first, "µs-silence": silences} {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds()), unit)
	}
	b.ReportMetric(float64(silences[len(silences)-1].Microseconds()), "µs-silence-worst")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMoveConns moves a thousand connections, one after the other.
func BenchmarkMoveConns(b *testing.B) {
	const size = 1000
	w := newWorld(b, "tcp")
	quiet := func(c *Config) { c.TickInterval, c.Creation = time.Hour, 4711 }
	from, to := w.started("front", quiet), w.node("front", quiet)
	to.started.Store(true)
	w.crowd(from.Listeners()[0], size)
	var worst time.Duration
	for b.Loop() {
		begin := time.Now()
		for _, name := range from.Peers() {
			m, err := from.Conn(name).Detach(context.Background())
			require.NoError(b, err)
			_, err = to.Adopt(context.Background(), m)
			require.NoError(b, err)
		}
		worst = max(worst, time.Since(begin))
		from, to = to, from
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms-1000-conns")
	b.ReportMetric(float64(worst.Milliseconds()), "ms-worst")
}

// BenchmarkUpgrade moves a node with a thousand connections and ten thousand mailboxes, some of
// them with unread messages, links and monitors.
func BenchmarkUpgrade(b *testing.B) {
	const conns, boxes = 1000, 10_000
	w := newWorld(b, "tcp")
	n := w.started("front", func(c *Config) { c.TickInterval = time.Hour })
	w.crowd(n.Listeners()[0], conns)
	ctx := context.Background()
	var last *Mailbox
	for i := range boxes {
		m := box(b, n)
		switch {
		case i%10 == 0:
			require.NoError(b, n.Register(ctx, fmt.Sprintf("box%d", i), m))
		case i%10 == 1:
			require.NoError(b, m.Link(ctx, last.Pid()))
			_, err := m.Monitor(ctx, last.Pid())
			require.NoError(b, err)
		}
		for range i % 4 {
			require.NoError(b, m.Send(ctx, m.Pid(), make([]byte, 100)))
		}
		last = m
	}
	var frozen, worst time.Duration
	var size int
	for b.Loop() {
		begin := time.Now()
		f, err := n.Freeze(ctx)
		require.NoError(b, err)
		frozen += time.Since(begin)
		size = len(f.State())
		s := restore(b, again(n), f)
		require.NoError(b, f.Release())
		require.NoError(b, s.Start(ctx))
		worst = max(worst, time.Since(begin))
		n = s.Node()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms-node")
	b.ReportMetric(float64(frozen.Milliseconds())/float64(b.N), "ms-freeze")
	b.ReportMetric(float64(worst.Milliseconds()), "ms-worst")
	b.ReportMetric(float64(size), "bytes-state")
	require.NoError(b, n.Close())
}

// BenchmarkUpgradeMailboxes moves a node with many mailboxes, or many unread messages, and no
// connection. All of freeze, stage and start is silence for the peers of a real node.
func BenchmarkUpgradeMailboxes(b *testing.B) {
	for _, of := range []struct{ boxes, unread int }{{100_000, 0}, {10_000, 100}, {1_000_000, 0}} {
		b.Run(fmt.Sprintf("%d with %d", of.boxes, of.unread), func(b *testing.B) {
			n := newWorld(b, "tcp").started("front")
			ctx := context.Background()
			for range of.boxes {
				m := box(b, n)
				for range of.unread {
					require.NoError(b, m.Send(ctx, m.Pid(), make([]byte, 100)))
				}
			}
			var freeze, stage, start time.Duration
			size := 0
			for b.Loop() {
				begin := time.Now()
				f, err := n.Freeze(ctx)
				require.NoError(b, err)
				freeze += time.Since(begin)
				size = len(f.State())
				begin = time.Now()
				s := restore(b, again(n), f)
				stage += time.Since(begin)
				require.NoError(b, f.Release())
				begin = time.Now()
				require.NoError(b, s.Start(ctx))
				start += time.Since(begin)
				n = s.Node()
			}
			b.ReportMetric(float64(freeze.Milliseconds())/float64(b.N), "ms-freeze")
			b.ReportMetric(float64(stage.Milliseconds())/float64(b.N), "ms-stage")
			b.ReportMetric(float64(start.Milliseconds())/float64(b.N), "ms-start")
			b.ReportMetric(float64(size), "bytes-state")
			require.NoError(b, n.Close())
		})
	}
}
