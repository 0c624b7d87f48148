package nodes

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

// In these tests time is a bubble's: what is asserted about it is exact.

// receiving keeps a Receive going on the lower level until the connection ends.
func receiving(c *Conn) {
	go func() {
		for {
			if _, err := c.Receive(context.Background()); err != nil {
				return
			}
		}
	}()
}

// listen reads frames until the connection ends, and hands them to f with the time since now.
func (p *wire) listen(f func(body []byte, at time.Duration)) {
	begin := time.Now()
	go func() {
		for {
			body, err := p.ReadFrame(context.Background())
			if err != nil {
				return
			}
			f(body, time.Since(begin))
		}
	}()
}

func (p *wire) tick() error { return p.Write(protocol.AppendTick(nil)) }

func TestTicksWhenIdle(t *testing.T) {
	for _, receive := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			p, c := w.wired()
			if receive {
				receiving(c)
			}
			var ticks []time.Duration
			p.listen(func(body []byte, at time.Duration) {
				require.Empty(t, body)
				ticks = append(ticks, at)
				require.NoError(t, p.tick())
			})
			time.Sleep(5*defaultTickInterval + time.Second)
			synctest.Wait()
			require.Equal(t, []time.Duration{15 * time.Second, 30 * time.Second, 45 * time.Second, 60 * time.Second, 75 * time.Second}, ticks)
			require.NoError(t, c.Err())
		})
	}
}

// A node that sends messages sends no ticks beside them, unless the peer does nothing but answer
// ticks, as a hidden one made with the C library does: a visible one ticks by itself.
func TestTicksBesideMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		visible, says bool // says: it answers messages with messages
		lasts         time.Duration
		ticks         bool
	}{
		"one that says something": {false, true, 200 * time.Second, false},
		"visible":                 {true, false, 30 * time.Second, false},
		"hidden":                  {false, false, 200 * time.Second, true},
	} {
		bubble(t, func(t *testing.T, w *world) {
			_, l := w.listening("bob")
			self := role("wire@test")
			if tt.visible {
				self.Flags |= dist.FlagPublished
			}
			p, c := w.joined(l, self)
			receiving(c)
			ticks := 0
			p.listen(func(body []byte, _ time.Duration) {
				switch {
				case len(body) == 0:
					ticks++
					require.NoError(t, p.tick())
				case tt.says:
					p.Say("x", ei.Int(1))
				}
			})
			for begin := time.Now(); time.Since(begin) < tt.lasts; {
				time.Sleep(2 * time.Second)
				require.NoError(t, c.SendName(context.Background(), "x", 1))
			}
			synctest.Wait()
			require.Equal(t, tt.ticks, ticks > 0, name)
			require.NoError(t, c.Err(), name)
		})
	}
}

func TestTickIsAnsweredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, c := w.wired()
		receiving(c)
		for range 3 {
			time.Sleep(time.Second)
			began := time.Now()
			require.NoError(t, p.tick())
			require.Empty(t, of(p.ReadFrame(w.ctx())).must(t))
			require.Equal(t, began, time.Now())
		}
	})
}

// A tickLine is what lies between two nodes whose clocks stand still: ticks take their time, and
// wait for as long as it is held.
type tickLine struct {
	mu      sync.Mutex
	ends    [2]*wire
	delay   time.Duration
	held    bool
	waiting [2]int // ticks, by the end that they go to
	ticks   int    // that have come, ever
}

// endless is more ticks than there may ever be, so that nothing goes on behind a failed test.
const endless = 1000

// tickLine joins two nodes. The second one is visible.
func (w *world) tickLine(delay time.Duration) (l *tickLine, ends [2]*Conn) {
	l = &tickLine{delay: delay}
	for i, alive := range []string{"alice", "bob"} {
		_, listener := w.listening(alive, func(cfg *Config) { cfg.TickInterval, cfg.Visible = time.Hour, i == 1 })
		l.ends[i], ends[i] = w.joined(listener, role("line@test"))
	}
	for i, p := range l.ends {
		p.listen(func(body []byte, _ time.Duration) {
			if len(body) > 0 {
				_ = l.ends[1-i].Write(framed(body))
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.ticks++; l.held {
				l.waiting[1-i]++
			} else if l.ticks < endless {
				time.AfterFunc(delay, func() { _ = l.ends[1-i].tick() })
			}
		})
	}
	return l, ends
}

func (l *tickLine) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

// release lets go on what waits, one tick after the other.
func (l *tickLine) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	for i, n := range l.waiting {
		for k := range n {
			time.AfterFunc(l.delay+time.Duration(k)*time.Millisecond, func() { _ = l.ends[i].tick() })
		}
	}
}

func (l *tickLine) count() int {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ticks
}

// Whoever ticks when, and however long it is under way, it comes to an end.
func TestTicksComeToAnEnd(t *testing.T) {
	for _, roundTrip := range []time.Duration{0, 20 * time.Millisecond, 600 * time.Millisecond} {
		for _, pause := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
			for _, held := range []bool{false, true} {
				for order := range 1 << 4 {
					bubble(t, func(t *testing.T, w *world) {
						l, ends := w.tickLine(roundTrip / 2)
						receiving(ends[0])
						receiving(ends[1])
						if held {
							l.hold()
						}
						for i := range 4 {
							require.NoError(t, link.Within(&ends[order>>i&1].l).SendTick())
							synctest.Wait()
							time.Sleep(pause)
						}
						l.release()
						time.Sleep(10 * time.Second)
						ticks := l.count()
						time.Sleep(10 * time.Minute)
						require.Equal(t, ticks, l.count(), "%v, %v, %v, %04b", roundTrip, pause, held, order)
						require.LessOrEqual(t, ticks, 4*3, "%v, %v, %v, %04b", roundTrip, pause, held, order)
					})
				}
			}
		}
	}
}

// A visible node sends ticks to a peer that only sends, and has them all answered at once when the
// peer receives.
func TestTicksEndOfPeerThatDidNotReceive(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		l, ends := w.tickLine(0)
		receiving(ends[1])
		l.hold() // else one look at the queue would be for all of them
		for range 20 {
			require.NoError(t, ends[0].SendName(w.ctx(), "x", 1))
			time.Sleep(200 * time.Millisecond)
		}
		require.Equal(t, 4, l.count(), "that nobody has answered")
		receiving(ends[0])
		l.release()
		time.Sleep(10 * time.Second)
		ticks := l.count()
		require.LessOrEqual(t, ticks, 4*3)
		time.Sleep(10 * time.Minute)
		require.Equal(t, ticks, l.count())
	})
}

// A peer that is silent is dropped, and a sign of life puts that off.
func TestSilentPeerIsDropped(t *testing.T) {
	for name, tt := range map[string]struct {
		sign func(p *wire) // after 50 s
		ends time.Duration
	}{
		"none":    {func(*wire) {}, 4 * defaultTickInterval},
		"tick":    {func(p *wire) { p.tick() }, 60*time.Second + 4*defaultTickInterval},
		"message": {func(p *wire) { p.Say("x", ei.Int(1)) }, 60*time.Second + 4*defaultTickInterval},
	} {
		bubble(t, func(t *testing.T, w *world) {
			b, l := w.listening("bob")
			p, c := w.joined(l, role("wire@test"))
			receiving(c)
			p.listen(func([]byte, time.Duration) {})
			begin := time.Now()
			time.Sleep(50 * time.Second)
			tt.sign(p)
			<-c.Done()
			require.ErrorIs(t, c.Err(), ErrTickTimeout, name)
			require.Equal(t, tt.ends, time.Since(begin), name)
			<-c.l.Left()
			synctest.Wait()
			_, err := c.Receive(context.Background())
			require.ErrorIs(t, err, ErrTickTimeout, name)
			require.Empty(t, b.Peers())
		})
	}
}

// A peer that has left, and from which the node does not read, is dropped when nothing can be sent
// to it; the error says why.
func TestPeerThatLeftIsDropped(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, c := w.wired()
		require.NoError(t, p.S.Close())
		<-c.Done()
		require.ErrorIs(t, c.Err(), ErrTickTimeout)
		require.ErrorIs(t, c.Err(), syscall.EPIPE)
	})
}

// While the node does not receive, a peer is not dropped: unread bytes count as its sign of life,
// and where there are none it may have spoken, but nothing was read.
func TestUnreadPeerIsNotDropped(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, c := w.wired()
		ticks := 0
		p.listen(func([]byte, time.Duration) { ticks++ })
		p.Say("x", ei.Atom("kept"))
		for i, unread := range []bool{true, false} {
			time.Sleep(10*time.Minute + time.Second)
			synctest.Wait()
			require.NoError(t, c.Err())
			require.Equal(t, 40*(i+1), ticks)
			if unread {
				require.Equal(t, ei.Atom("kept"), term(t, c))
				_, err := c.Receive(transport.NoWait())
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			}
		}
	})
}

// A peer with a net_ticktime of 8 s ticks every 2 s, and drops a node from which nothing comes for
// four of these intervals. It may have a shorter one, and be far away, and hear other things
// meanwhile.
func TestShortNetTicktimePeer(t *testing.T) {
	for _, tt := range []struct{ ticktime, roundTrip, every time.Duration }{
		{8 * time.Second, 0, 0},
		{8 * time.Second, 0, 5 * time.Second},
		{4 * time.Second, 0, 0},
		{4 * time.Second, 600 * time.Millisecond, 0},
		{4 * time.Second, 600 * time.Millisecond, 2500 * time.Millisecond},
		{3200 * time.Millisecond, 600 * time.Millisecond, 0}, // close to the answerPause
		{2900 * time.Millisecond, 600 * time.Millisecond, 0},
		{time.Second, 0, 0},
		{time.Second, 0, 300 * time.Millisecond},
		{200 * time.Millisecond, 0, 0},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				b, p := w.met("bob")
				var read atomic.Int64
				p.listen(func([]byte, time.Duration) { time.AfterFunc(tt.roundTrip/2, func() { read.Add(1) }) })
				synctest.Wait()
				end, cancel := context.WithCancel(context.Background())
				defer cancel()
				if tt.every > 0 {
					go func() {
						for end.Err() == nil {
							_ = b.Conn("wire@test").SendName(end, "x", 1)
							time.Sleep(tt.every)
						}
					}()
				}
				missed, last := 0, int64(0)
				for range 300 {
					time.Sleep(tt.ticktime / 4)
					synctest.Wait()
					if now := read.Load(); now == last {
						missed++
					} else {
						missed, last = 0, now
					}
					require.Less(t, missed, 3, "and there is one to spare")
					time.AfterFunc(tt.roundTrip/2, func() { _ = p.tick() })
				}
				cancel()
				time.Sleep(tt.roundTrip + tt.every)
			})
		})
	}
}

// A BEAM that sends messages all the time, and nothing comes back, sends no ticks to a visible
// node: it lives by the ticks with which the messages are answered, as long as they come. One that
// is answered by messages gets none.
func TestFlowIsAnsweredByTicks(t *testing.T) {
	for name, tt := range map[string]struct {
		visible, answers bool
		want             []time.Duration // of the ticks
	}{
		"visible":           {true, false, []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30}},
		"hidden":            {false, false, []time.Duration{15, 30}},
		"visible, answered": {true, true, []time.Duration{30}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				b, p := w.met("bob", func(cfg *Config) { cfg.Visible = tt.visible })
				box := registered(t, b, "x")
				begin := time.Now()
				var ticks []time.Duration
				p.listen(func(body []byte, at time.Duration) {
					if len(body) == 0 {
						ticks = append(ticks, at.Round(time.Second)/time.Second)
					}
				})
				time.Sleep(time.Millisecond)
				for time.Since(begin) < 10*time.Second {
					p.Say("x", ei.Int(1))
					m := receive(t, box)
					if tt.answers {
						require.NoError(t, m.Conn().SendName(w.ctx(), "y", 1))
					}
					time.Sleep(300 * time.Millisecond)
				}
				time.Sleep(26*time.Second - time.Millisecond)
				synctest.Wait()
				require.Equal(t, tt.want, ticks)
			})
		})
	}
}

// A large frame over a slow line is a sign of life long before it is whole.
func TestSlowFrameKeepsPeerAlive(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p, c := w.wired()
		p.listen(func([]byte, time.Duration) {})
		got := async(func() (*Message, error) { return c.Receive(context.Background()) })
		const step = 200 << 10
		b := frame(t, dist.Control{Op: dist.OpSend, To: c.Self()}, make(ei.Binary, 40*step))
		for len(b) > 0 {
			n := min(step, len(b))
			require.NoError(t, p.Write(b[:n]))
			b = b[n:]
			time.Sleep(7 * time.Second) // so that none of it comes just as a tick is due
		}
		require.NoError(t, (<-got).err)
	})
}

// A side that has ended its direction sends no ticks, which would end the connection while the peer
// still reads.
func TestNoTicksAfterShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n, p := w.met("bob")
		synctest.Wait()
		c := n.Conn("wire@test")
		down := async(func() (int, error) { return 0, c.Shutdown(context.Background()) })
		synctest.Wait()
		for range 3 * link.MissedTicks {
			require.NoError(t, p.tick())
			time.Sleep(defaultTickInterval)
			synctest.Wait()
			require.NoError(t, c.Err())
		}
		p.Close()
		require.NoError(t, (<-down).err)
		require.NoError(t, n.Close())
	})
}
