package nodes

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// hereAndThere runs a test with two processes of one node, and with processes of two.
func hereAndThere(t *testing.T, test func(t *testing.T, w *world, here, there *Node)) {
	for _, kind := range []string{"one node", "tcp", "unix", "memory"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "one node" {
				w := newWorld(t, "memory")
				n := w.started("alice")
				test(t, w, n, n)
				return
			}
			w := newWorld(t, kind)
			test(t, w, w.started("alice"), w.started("bob"))
		})
	}
}

// settle lets all signals arrive that are on their way from one mailbox's node to the other's, and
// back.
func settle(t testing.TB, a, b *Mailbox) {
	t.Helper()
	for _, p := range [][2]*Mailbox{{a, b}, {b, a}, {a, b}} {
		from, to := box(t, p[0].n), box(t, p[1].n)
		require.NoError(t, from.Send(soon(t), to.Pid(), "mark"))
		term(t, to)
		from.Close()
		to.Close()
	}
}

func TestLinkExit(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		for _, first := range []string{"here", "there"} {
			a, b := box(t, here), box(t, there)
			require.NoError(t, a.Link(w.ctx(), b.Pid()))
			require.NoError(t, a.Link(w.ctx(), b.Pid()), "twice is once")
			settle(t, a, b)
			require.Equal(t, map[ei.Pid]states.Link{b.Pid(): {Active: true}}, linksOf(a))
			require.Equal(t, map[ei.Pid]states.Link{a.Pid(): {Active: true}}, linksOf(b))
			why := ei.Tuple{ei.Atom("crash"), ei.Int(1)}
			if first == "here" {
				a.Exit(why)
				require.Equal(t, why, exited(t, b))
			} else {
				b.Exit(why)
				require.Equal(t, why, exited(t, a))
			}
		}
	})
}

func TestLinkTrapped(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a, b := trapping(t, here), box(t, there)
		require.NoError(t, a.Link(w.ctx(), b.Pid()))
		settle(t, a, b)
		require.NoError(t, b.Close())
		m, why := reason(t, a, dist.OpExit)
		require.Equal(t, b.Pid(), m.From)
		require.Equal(t, ei.Atom("normal"), why, "who traps hears of a normal end")
		require.Empty(t, linksOf(a))
		require.NoError(t, a.Err())

		// A process that does not trap exits survives a normal end.
		a, b = box(t, here), box(t, there)
		require.NoError(t, a.Link(w.ctx(), b.Pid()))
		settle(t, a, b)
		require.NoError(t, b.Close())
		settle(t, a, box(t, there))
		require.NoError(t, a.Err())
		require.Empty(t, linksOf(a))
	})
}

func TestLinkNoproc(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		gone := box(t, there)
		gone.Close()
		a := trapping(t, here)
		require.NoError(t, a.Link(w.ctx(), gone.Pid()))
		m, why := reason(t, a, dist.OpExit)
		require.Equal(t, gone.Pid(), m.From)
		require.Equal(t, ei.Atom("noproc"), why)
		require.Empty(t, linksOf(a))

		earlier := box(t, there).Pid()
		earlier.Creation++ // another life of the node
		a = box(t, here)
		require.NoError(t, a.Link(w.ctx(), earlier))
		require.Equal(t, ei.Atom("noproc"), exited(t, a))
		require.NoError(t, box(t, here).Unlink(w.ctx(), earlier), "nothing to unlink")
	})
}

func TestUnlink(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		for _, side := range []int{0, 1} {
			pair := []*Mailbox{trapping(t, here), trapping(t, there)}
			a, b := pair[side], pair[1-side]
			require.NoError(t, pair[0].Link(w.ctx(), pair[1].Pid()))
			settle(t, a, b)
			require.NoError(t, a.Unlink(w.ctx(), b.Pid()))
			settle(t, a, b)
			require.Empty(t, linksOf(a))
			require.Empty(t, linksOf(b))
			b.Exit(ei.Atom("crash"))
			settle(t, a, box(t, there))
			require.Zero(t, unread(a))

			// Linking anew works, before and after the acknowledgement.
			b = trapping(t, b.n)
			for range 3 {
				require.NoError(t, a.Link(w.ctx(), b.Pid()))
				require.NoError(t, a.Unlink(w.ctx(), b.Pid()))
				require.NoError(t, a.Link(w.ctx(), b.Pid()))
			}
			settle(t, a, b)
			require.Equal(t, map[ei.Pid]states.Link{b.Pid(): {Active: true}}, linksOf(a))
			require.Equal(t, map[ei.Pid]states.Link{a.Pid(): {Active: true}}, linksOf(b))
		}
	})
}

// An exit signal that is already on its way when the link is ended does not come through.
func TestUnlinkBesideExit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, p := w.met("alice")
		b := trapping(t, a)
		require.NoError(t, b.Link(w.ctx(), p.Self))
		link, _ := p.Next()
		require.Equal(t, dist.OpLink, link.Op)
		require.NoError(t, b.Unlink(w.ctx(), p.Self))
		unlink, _ := p.Next()
		require.Equal(t, dist.OpUnlinkID, unlink.Op)
		// there is no link: the peer is not told again
		require.NoError(t, b.Unlink(w.ctx(), p.Self))
		why := of(ei.AppendAtom(nil, "crash")).must(t)
		exit := dist.Control{Op: dist.OpExit, From: p.Self, To: b.Pid(), Reason: why}
		ack := dist.Control{Op: dist.OpUnlinkIDAck, ID: unlink.ID, From: p.Self, To: b.Pid()}
		p.Send(exit, nil)
		// A LINK of the peer's that was on its way does not count either.
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
		p.Send(exit, nil)
		// Nor does the acknowledgement of another unlink.
		p.Send(dist.Control{Op: dist.OpUnlinkIDAck, ID: unlink.ID + 1, From: p.Self, To: b.Pid()}, nil)
		// Nor does an unlink of the peer's acknowledge ours.
		p.Send(dist.Control{Op: dist.OpUnlinkID, ID: 4711, From: p.Self, To: b.Pid()}, nil)
		synctest.Wait()
		require.Len(t, linksOf(b), 1)
		p.Send(ack, nil)
		synctest.Wait()
		require.Empty(t, linksOf(b))
		require.Zero(t, unread(b))

		// Then a link counts again.
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
		p.Send(exit, nil)
		m, _ := reason(t, b, dist.OpExit)
		require.Equal(t, p.Self, m.From)
	})
}

// An unlink whose acknowledgement is lost with the connection does not prevent a link over the next
// connection.
func TestUnlinkBesideEndOfConnection(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	b := box(t, a)
	for range 2 {
		p := w.peer(a.Listeners()[0], role("wire@test"))
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
		require.Eventually(t, func() bool { return linksOf(b)[p.Self].Active }, tooLong, tick)
		require.NoError(t, b.Unlink(w.ctx(), p.Self))
		p.Close()
		require.Eventually(t, func() bool { return len(a.Peers()) == 0 }, tooLong, tick)
		require.Empty(t, linksOf(b))
	}
}

// An UNLINK_ID is acknowledged, even for a process that is gone, and before anything else goes to
// the process that sent it.
func TestUnlinkIsAcknowledged(t *testing.T) {
	w := newWorld(t, "memory")
	a, p := w.met("alice")
	gone, b := box(t, a), trapping(t, a)
	gone.Close()
	for i, to := range []ei.Pid{b.Pid(), gone.Pid(), {Node: "alice@test", ID: 4711, Creation: 9}} {
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
		p.Send(dist.Control{Op: dist.OpUnlinkID, ID: uint64(i + 1), From: p.Self, To: to}, nil)
		ack, _ := p.Next()
		require.Equal(t, dist.Control{Op: dist.OpUnlinkIDAck, ID: uint64(i + 1), From: to, To: p.Self}, ack)
	}

	_, l := w.listening("bob") // on the lower level too
	q, c := w.joined(l, role("other@test"))
	q.Send(dist.Control{Op: dist.OpUnlinkID, ID: 7, From: q.Self, To: c.Self()}, nil)
	require.Equal(t, dist.OpUnlinkID, receive(t, c).Op)
	ack, _ := q.Next()
	require.Equal(t, dist.Control{Op: dist.OpUnlinkIDAck, ID: 7, From: c.Self(), To: q.Self}, ack)
}

func TestSendExit(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a := box(t, here)
		for _, tt := range []struct {
			why   ei.Term
			trap  bool
			want  ei.Term // of the end; nil: it lives
			event bool
		}{
			{ei.Atom("crash"), false, ei.Atom("crash"), false},
			{ei.Atom("crash"), true, nil, true},
			{ei.Atom("normal"), false, nil, false},
			{ei.Atom("normal"), true, nil, true},
			{ei.Atom("kill"), false, ei.Atom("killed"), false},
			{ei.Atom("kill"), true, ei.Atom("killed"), false},
			{ei.Tuple{ei.Atom("a"), ei.Float(1.5)}, true, nil, true},
		} {
			b := box(t, there)
			if tt.trap {
				b = trapping(t, there)
			}
			require.NoError(t, a.SendExit(w.ctx(), b.Pid(), tt.why))
			switch {
			case tt.want != nil:
				require.Equal(t, tt.want, exited(t, b))
			case tt.event:
				m, why := reason(t, b, dist.OpExit)
				require.Equal(t, tt.why, why)
				require.Equal(t, a.Pid(), m.From)
			default:
				settle(t, a, b)
				require.NoError(t, b.Err())
			}
		}
		require.NoError(t, a.SendExit(w.ctx(), ei.Pid{Node: ei.Atom(there.Name()), ID: 4711, Creation: 1}, "x"), "nobody")
		require.Error(t, a.SendExit(w.ctx(), a.Pid(), make(chan int)))
		require.NoError(t, a.SendExit(w.ctx(), a.Pid(), ei.Atom("normal")))
		require.Equal(t, ei.Atom("normal"), exited(t, a), "normal ends only oneself")
	})
}

// A reason that cannot be encoded for other processes is replaced.
func TestExitWithUnencodableReason(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		a, b := box(t, here), box(t, there)
		require.NoError(t, a.Link(w.ctx(), b.Pid()))
		settle(t, a, b)
		a.Exit(ei.Atom(strings.Repeat("x", 256)))
		require.Equal(t, ei.Atom("unencodable_reason"), exited(t, b))
	})
}

// If a process ends while its Link is on its way to another process of the node, that process ends
// too.
func TestLinkBesideOwnEnd(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	a, b := box(t, n), box(t, n)
	a.Exit(ei.Atom("crash")) // it is not linked yet
	require.NoError(t, a.changeHere(soon(t), func() (*dist.Control, error) {
		return &dist.Control{Op: dist.OpLink, From: a.Pid(), To: b.Pid()}, nil
	}))
	require.Equal(t, ei.Atom("crash"), exited(t, b))
}

// A chain of links within a node may be longer than a stack is deep.
func TestLongLinkChain(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(64 << 20))
	n := newWorld(t, "memory").started("alice")
	first := box(t, n)
	last := first
	for range 3 * maxDeep {
		next := box(t, n)
		require.NoError(t, next.Link(soon(t), last.Pid()))
		last = next
	}
	first.Exit(ei.Atom("crash"))
	require.Equal(t, ei.Atom("crash"), exited(t, last))
	require.EqualValues(t, 2, n.Stats().Mailboxes)
	require.Zero(t, n.procs.telling.Load())
}

func TestLinkNoconnection(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		one, two, there := box(t, a), trapping(t, a), box(t, b)
		require.NoError(t, one.Link(w.ctx(), there.Pid()))
		require.NoError(t, two.Link(w.ctx(), there.Pid()))
		settle(t, one, there)
		require.NoError(t, a.Conn("bob@test").Close())
		require.Equal(t, ei.Atom("noconnection"), exited(t, one))
		m, why := reason(t, two, dist.OpExit)
		require.Equal(t, ei.Atom("noconnection"), why)
		require.Equal(t, there.Pid(), m.From)
		require.Equal(t, ei.Atom("noconnection"), exited(t, there), "the other side too")

		require.NoError(t, b.Close())
		three := trapping(t, a)
		require.ErrorIs(t, three.Link(w.ctx(), there.Pid()), ErrNoConnection)
		require.Empty(t, linksOf(three), "a Link that failed leaves nothing")
		require.ErrorIs(t, three.Link(w.ctx(), there.Pid()), ErrNoConnection, "nor is it taken for one that worked")
		require.NoError(t, three.Unlink(w.ctx(), there.Pid()))
		require.ErrorIs(t, three.SendExit(w.ctx(), there.Pid(), "x"), ErrNoConnection)
		require.NoError(t, three.Close())
		require.Error(t, three.Link(w.ctx(), two.Pid()))
		require.NoError(t, two.Link(w.ctx(), two.Pid()), "a link with oneself is none")
		require.Empty(t, linksOf(two))
	})
}

// A peer without UNLINK_ID does not acknowledge an unlink: it is over at once, and the peer may
// link anew.
func TestUnlinkOldPeer(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	old := role("wire@test")
	old.Flags &^= dist.FlagUnlinkID
	p := w.peer(a.Listeners()[0], old)
	b := box(t, a)
	require.Eventually(t, func() bool { return a.Conn("wire@test") != nil }, tooLong, tick)
	require.NoError(t, b.Link(w.ctx(), p.Self))
	require.NoError(t, b.Unlink(w.ctx(), p.Self))
	require.Empty(t, linksOf(b))
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
	require.Eventually(t, func() bool { return linksOf(b)[p.Self].Active }, tooLong, tick)
	b.Exit(ei.Atom("crash"))
	for _, op := range []dist.Op{dist.OpLink, dist.OpUnlink, dist.OpPayloadExit} {
		ctl, _ := p.Next()
		require.Equal(t, op, ctl.Op)
		require.Equal(t, p.Self, ctl.To)
	}
}

// A Link that waits for a peer which does not read can be cancelled, and leaves nothing behind.
func TestLinkCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, p := w.met("alice", func(cfg *Config) { cfg.QueueLimit = 1000 })
		b := trapping(t, a)
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		for range 200 { // more than there is room for
			go b.Send(ctx, p.Self, make([]byte, 500))
		}
		synctest.Wait()
		linked := async(func() (int, error) { return 0, b.Link(ctx, p.Self) })
		synctest.Wait()
		cancel()
		require.ErrorIs(t, (<-linked).err, context.Canceled)
		require.Empty(t, linksOf(b))
		relinked := async(func() (int, error) { return 0, b.Link(w.ctx(), p.Self) })
		for {
			if op, _ := p.Next(); op.Op == dist.OpLink {
				break
			} else {
				require.Equal(t, dist.OpSendSender, op.Op)
			}
		}
		require.NoError(t, (<-relinked).err)
		require.Len(t, linksOf(b), 1)
	})
}

// awaitsRoom waits until a goroutine waits for room in a mailbox.
func awaitsRoom(t *testing.T, b *Mailbox) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.inbox.RoomAwaited()
	}, tooLong, tick, "nothing waits for room")
}

// Once Unlink has returned nothing comes through the link, neither from a signal that waits for
// room nor from the end of the connection afterwards. The messages behind the signal are delivered.
func TestUnlinkWhileSignalWaits(t *testing.T) {
	for _, ends := range []bool{false, true} {
		w := newWorld(t, "memory")
		b, p := w.met("bob", func(cfg *Config) { cfg.OverflowLimit = 1 })
		full := box(t, b, &MailboxOptions{Limit: 1, TrapExit: true})
		other := box(t, b)
		crash := encode(t, ei.Atom("crash"))
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: full.Pid()}, nil)
		p.Send(dist.Control{Op: dist.OpSend, To: full.Pid()}, ei.Atom("before"))
		b.overflow.Force("wire@test", 1)
		p.Send(dist.Control{Op: dist.OpExit, From: p.Self, To: full.Pid(), Reason: crash}, nil)
		p.Send(dist.Control{Op: dist.OpSend, To: other.Pid()}, ei.Atom("behind"))
		awaitsRoom(t, full)
		require.NoError(t, full.Unlink(w.ctx(), p.Self))
		require.Equal(t, ei.Atom("behind"), term(t, other))
		if ends {
			c := b.Conn("wire@test")
			require.NoError(t, c.Close())
			<-c.l.Left()
		}
		require.Equal(t, ei.Atom("before"), term(t, full))
		_, err := full.Receive(transport.NoWait())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, full.Err())
	}
}

// The same if the reason takes a while to decode, and the process does not trap exits: when Unlink
// returns the process lives on, or has ended.
func TestUnlinkBesideLongReason(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	long := make(ei.List, 200_000)
	for i := range long {
		long[i] = ei.Tuple{ei.Atom("a"), ei.Int(i)}
	}
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for range rounds {
		b, last := box(t, n), box(t, n)
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: b.Pid()}, nil)
		require.Eventually(t, func() bool { return len(linksOf(b)) == 1 }, tooLong, tick)
		p.Send(dist.Control{Op: dist.OpPayloadExit, From: p.Self, To: b.Pid()}, long)
		p.Send(dist.Control{Op: dist.OpSend, To: last.Pid()}, ei.Atom("read"))
		time.Sleep(rand.N(20 * time.Millisecond)) // somewhere in what follows
		if b.Unlink(soon(t), p.Self) == nil && b.Err() == nil {
			require.Equal(t, ei.Atom("read"), term(t, last))
			require.NoError(t, b.Err())
		}
	}
}

// A DOWN comes before Demonitor returns, or not at all, even if many come at once, with the end of
// a connection; so does a nodedown.
func TestDemonitorBesideEnd(t *testing.T) {
	for range 10 {
		w := newWorld(t, "memory")
		a, other := w.started("alice"), w.started("bob")
		x, y := box(t, a), box(t, other)
		var refs []ei.Ref
		for range 2000 {
			r := monitor(t, x, y.Pid())
			refs = append(refs, r)
		}
		require.NoError(t, x.MonitorNode(w.ctx(), "bob@test"))
		c := a.Conn("bob@test")
		go c.Close()
		require.Equal(t, dist.OpMonitorPExit, receive(t, x).Op)
		x.Demonitor(context.Background(), refs[0])
		x.DemonitorNode("bob@test")
		require.NoError(t, x.Send(w.ctx(), x.Pid(), ei.Atom("mark")))
		<-c.l.Left()
		marked, late := false, 0
		for unread(x) > 0 {
			m := receive(t, x)
			switch {
			case m.Op == dist.OpMonitorPExit && marked && m.Ref == refs[0]:
				late++
			case m.Op == dist.OpSend:
				if v, err := m.Term(); err == nil && v == ei.Atom("mark") {
					marked = true
				} else if marked {
					late++
				}
			}
		}
		require.True(t, marked)
		require.Zero(t, late)
	}
}

// If the connection ends while an exit signal waits for room in the mailbox, the end of the
// connection takes the signal's place.
func TestExitWhileMailboxIsFull(t *testing.T) {
	b, p := newWorld(t, "memory").met("bob", func(cfg *Config) { cfg.OverflowLimit = 1 })
	b.overflow.Force("wire@test", 1)
	full := box(t, b, &MailboxOptions{Limit: 1, TrapExit: true})
	crash := encode(t, ei.Atom("crash"))
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: full.Pid()}, nil)
	p.Send(dist.Control{Op: dist.OpSend, To: full.Pid()}, ei.Atom("before"))
	p.Send(dist.Control{Op: dist.OpExit, From: p.Self, To: full.Pid(), Reason: crash}, nil)
	awaitsRoom(t, full)
	c := b.Conn("wire@test")
	require.NoError(t, c.Close())
	require.Equal(t, ei.Atom("before"), term(t, full))
	m, why := reason(t, full, dist.OpExit)
	require.Equal(t, p.Self, m.From)
	require.Equal(t, ei.Atom("noconnection"), why)
	require.Empty(t, linksOf(full))
}

// A process that traps exits, and ends when its mailbox is full, ends at an exit signal for which
// there is no room.
func TestExitAtFullMailbox(t *testing.T) {
	b, p := newWorld(t, "memory").met("bob")
	full := box(t, b, &MailboxOptions{Limit: 1, TrapExit: true, Full: FullExit})
	linked := box(t, b)
	require.NoError(t, full.Link(soon(t), linked.Pid()))
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: full.Pid()}, nil)
	p.Send(dist.Control{Op: dist.OpSend, To: full.Pid()}, ei.Atom("before"))
	p.Send(dist.Control{Op: dist.OpExit, From: p.Self, To: full.Pid(), Reason: exitReason(ei.Atom("crash"))}, nil)
	require.Equal(t, ei.Atom("mailbox_full"), exited(t, full))
	require.Equal(t, ei.Atom("mailbox_full"), exited(t, linked))
	require.Zero(t, unread(full))
}
