package nodes

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// besideDeaf runs f with a node and two peers of it. The deaf one reads nothing, and no more can be
// sent to it until hears is called.
func besideDeaf(t *testing.T, f func(t *testing.T, w *world, n *Node, deaf, good *wire, hears func())) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.started("alice", func(cfg *Config) { cfg.QueueLimit, cfg.Flags = 1000, withoutFragments })
		deaf, good := w.peer(n.Listeners()[0], role("deaf@test")), w.peer(n.Listeners()[0], role("good@test"))
		b := box(t, n)
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for range 200 { // more than there is room for
			go b.Send(ctx, deaf.Self, make([]byte, 500))
		}
		synctest.Wait()
		require.True(t, link.Within(&n.Conn("deaf@test").l).IsFull())
		f(t, w, n, deaf, good, cancel)
	})
}

// nextSignal is next, past messages.
func (p *wire) nextSignal() (ctl dist.Control, payload ei.Term) {
	p.T.Helper()
	for {
		if ctl, payload = p.Next(); ctl.Op != dist.OpSendSender {
			return ctl, payload
		}
	}
}

func monitorRef(p *wire, i int) ei.Ref {
	return ei.Ref{Node: p.Self.Node, Creation: 77, Len: 3, ID: [5]uint32{uint32(i), 1, 2}}
}

// watch has the peer monitor a process so many times.
func (p *wire) watch(b *Mailbox, times int) {
	p.T.Helper()
	for i := range times {
		require.True(p.T, b.watched(monitorRef(p, i), bonds.Watcher{Pid: p.Self}))
	}
}

// lose ends a process of n that the peer monitors so many times.
func (p *wire) lose(n *Node, times int, why ei.Term) {
	p.T.Helper()
	b := box(p.T, n)
	p.watch(b, times)
	b.Exit(why)
}

// hearEnds reads so many ends of what the peer monitors.
func (p *wire) hearEnds(times int, want ei.Term) {
	p.T.Helper()
	for range times {
		ctl, why := p.Next()
		require.Equal(p.T, dist.OpPayloadMonitorPExit, ctl.Op)
		require.Equal(p.T, want, why)
	}
}

// If a process with many links and monitors ends, a node that does not read delays none of the
// others that hear of it.
func TestExitBesideDeafPeer(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, deaf, good *wire, hears func()) {
		const many = exitSignals + 1
		b, here := box(t, n), trapping(t, n)
		for i := range many {
			require.True(t, b.linked(ei.Pid{Node: "deaf@test", ID: uint32(i), Creation: 77}))
		}
		good.watch(b, many)
		require.NoError(t, here.Link(t.Context(), b.Pid()))
		b.Exit(ei.Atom("crash"))
		_, why := reason(t, here, dist.OpExit)
		require.Equal(t, ei.Atom("crash"), why)
		good.hearEnds(many, ei.Atom("crash"))
		hears()
		for range many {
			ctl, why := deaf.nextSignal()
			require.Equal(t, dist.OpPayloadExit, ctl.Op)
			require.Equal(t, ei.Atom("crash"), why)
		}
	})
}

// Nor does it delay them when the node is shut down.
func TestShutdownBesideDeafPeer(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, deaf, good *wire, _ func()) {
		const many = 10
		for range many {
			b := box(t, n)
			require.True(t, b.linked(deaf.Self))
			good.watch(b, 1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		down := async(func() (int, error) { return 0, n.Shutdown(ctx) })
		good.hearEnds(many, ei.Atom("shutdown"))
		cancel()
		require.ErrorIs(t, (<-down).err, context.Canceled)
	})
}

// Shutdown with a context that has ended still sends the signals that go out at once.
func TestShutdownTooLateTells(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	require.Eventually(t, func() bool { return n.Conn("wire@test") != nil }, tooLong, tick)
	const many = 10
	for range many {
		p.watch(box(t, n), 1)
	}
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	_ = n.Shutdown(ctx)
	p.hearEnds(many, ei.Atom("shutdown"))
}

// The result of a spawned function reaches its caller, and its place is free again, although
// another node that is linked with it does not read.
func TestSpawnBesideDeafPeer(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, deaf, good *wire, _ func()) {
		proceed := make(chan struct{})
		n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) {
			<-proceed
			return nil, &Raise{Class: ClassExit, Reason: ei.Binary(make([]byte, 512<<10))}
		})
		opts := encode(t, ei.List{ei.Atom("monitor")})
		good.Send(dist.Control{
			Op: dist.OpSpawnRequest, Ref: monitorRef(good, 1), From: good.Self, GroupLeader: good.Self, Module: "m", Function: "f", Options: opts,
		}, ei.List{})
		ctl, _ := good.Next()
		require.Equal(t, dist.OpSpawnReply, ctl.Op)
		require.True(t, n.procs.local(of(ctl.Result.Decode()).must(t).(ei.Pid)).linked(deaf.Self))
		close(proceed)
		began := time.Now()
		ctl, _ = good.Next()
		require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
		synctest.Wait()
		require.True(t, n.life.Work.None())
		require.Zero(t, time.Since(began), "the end of the other connection was not waited for")
	})
}

// If many processes end at once, a peer that is slow to read does not lose its connection.
func TestManyEndsBesideSlowPeer(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, slow, _ *wire, hears func()) {
		const many = 50
		why := ei.Binary(make([]byte, 128<<10))
		for i := range many {
			b := box(t, n)
			require.True(t, b.watched(monitorRef(slow, i), bonds.Watcher{Pid: slow.Self}))
			b.Exit(why)
		}
		synctest.Wait()
		require.NotNil(t, n.Conn("deaf@test"))
		hears()
		for i := range many {
			ctl, _ := slow.nextSignal()
			require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
			require.Equal(t, monitorRef(slow, i), ctl.Ref)
		}
	})
}

// fillExitQueue ends processes until no more signals can wait for a peer of theirs; ended is closed
// when the last process, for whose signals there is no room, has told the peer of its end.
func fillExitQueue(t *testing.T, n *Node, slow *wire) (ended <-chan struct{}) {
	slow.lose(n, 64, ei.Binary(make([]byte, link.SignalLimit/64)))
	done := make(chan struct{})
	go func() { slow.lose(n, exitSignals+1, ei.Atom("crash")); close(done) }()
	synctest.Wait()
	return done
}

// A peer that reads, at once or slowly, loses no signals, however many processes end: the processes
// wait for the peer.
func TestEndsWaitForRoom(t *testing.T) {
	need.Long(t, 14*time.Second)
	for _, pause := range []time.Duration{0, freezeBudget / 10} {
		besideDeaf(t, func(t *testing.T, _ *world, n *Node, slow, _ *wire, hears func()) {
			ended := fillExitQueue(t, n, slow)
			select {
			case <-ended:
				require.Fail(t, "there was no room")
			default:
			}
			began := time.Now()
			hears()
			for i := range 64 + exitSignals + 1 {
				if i < 64 {
					time.Sleep(pause)
				}
				ctl, _ := slow.nextSignal()
				require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
				if i == 40 && pause == 0 {
					<-ended
					require.Zero(t, time.Since(began), "they go on as soon as half has been read")
				}
			}
			<-ended
			require.NoError(t, n.Conn("deaf@test").Err())
		})
	}
}

// When no more signals can wait for a peer, processes here and other peers still hear of the end of
// a process, and no reader waits.
func TestFullExitQueueKeepsNobody(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, deaf, good *wire, hears func()) {
		deaf.lose(n, 64, ei.Binary(make([]byte, link.SignalLimit/64)))
		c, began := n.Conn("deaf@test"), time.Now()
		kill := func(b *Mailbox) { // as a process of the good peer does
			require.True(t, b.watched(monitorRef(deaf, 100), bonds.Watcher{Pid: deaf.Self}))
			require.True(t, b.watched(monitorRef(good, 100), bonds.Watcher{Pid: good.Self}))
			good.Send(dist.Control{Op: dist.OpExit2, From: good.Self, To: b.Pid(), Reason: exitReason(ei.Atom("kill"))}, nil)
		}
		here, first, second := trapping(t, n), box(t, n), box(t, n)
		require.NoError(t, here.Link(t.Context(), first.Pid()))
		kill(first)
		kill(second)
		_, why := reason(t, here, dist.OpExit)
		require.Equal(t, ei.Atom("killed"), why)
		for range 2 {
			ctl, _ := good.Next()
			require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
		}
		require.Zero(t, time.Since(began))
		third := box(t, n)
		require.True(t, third.watched(monitorRef(deaf, 101), bonds.Watcher{Pid: deaf.Self}))
		third.Exit(ei.Atom("x"))
		require.Equal(t, n.cfg.TickInterval, time.Since(began), "who ends a process himself waits for room")
		require.ErrorIs(t, c.Err(), ErrEndsUnread)
	})
}

// Signals that wait for their turn when their context ends go out all the same.
func TestTellInTurnCutOff(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, deaf, _ *wire, hears func()) {
		b := box(t, n)
		var words []*dist.Control
		for i := range 3 {
			to := ei.Pid{Node: "deaf@test", ID: uint32(i), Creation: 77}
			words = append(words, &dist.Control{Op: dist.OpExit, From: b.Pid(), To: to, Reason: exitReason(noconnection)})
		}
		ctx, cancel := context.WithCancel(context.Background())
		told := async(func() (int, error) {
			c := n.Conn("deaf@test")
			b.n.procs.exits.Enter()
			c.exits.Enter()
			(&exitNotice{n: n, to: c.extent(), conn: c, signals: words}).tell(ctx, link.InTurn)
			return 0, nil
		})
		synctest.Wait()
		require.Empty(t, told)
		cancel()
		<-told
		hears()
		for i := range words {
			ctl, _ := deaf.nextSignal()
			require.Equal(t, dist.OpPayloadExit, ctl.Op)
			require.Equal(t, uint32(i), ctl.To.ID)
		}
	})
}

// A process that ends any number of monitors, and calls that end, cost no connection whose peer is
// slow to read: the signals wait for room, and those who cause them do not.
func TestManyMonitorsEndBesideSlowPeer(t *testing.T) {
	need.Long(t, 10*time.Second)
	for _, ofCalls := range []bool{false, true} {
		t.Run(fmt.Sprintf("calls=%v", ofCalls), func(t *testing.T) {
			besideDeaf(t, func(t *testing.T, _ *world, n *Node, slow, _ *wire, hears func()) {
				const many = 20_000
				c, b := n.Conn("deaf@test"), box(t, n)
				began := time.Now()
				for range many {
					ref := of(n.NewRef()).must(t)
					end := func() { b.Demonitor(context.Background(), ref) }
					if ofCalls {
						b = of(n.newPrivate(c, ei.Ref{})).must(t)
						end = func() { b.leave(c) }
					}
					b.mu.Lock()
					b.bonds.Watch(ref, bonds.Target{Node: "deaf@test", Pid: slow.Self})
					b.mu.Unlock()
					end()
				}
				synctest.Wait()
				require.NoError(t, c.Err())
				require.Zero(t, time.Since(began), "nobody has waited")
				hears()
				for range many {
					ctl, _ := slow.nextSignal()
					require.Equal(t, dist.OpDemonitorP, ctl.Op)
				}
				synctest.Wait()
				require.Zero(t, c.exits.Count(), "a shutdown waits for none of them")
				require.Zero(t, n.procs.exits.Count())
			})
		})
	}
}
