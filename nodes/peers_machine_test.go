package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/transport"
)

// Three nodes connect, accept and close in any order, some steps concurrently, and their tables of
// peers are checked: two nodes never have two connections with each other, no Connect takes longer
// than a handshake may, and when all is quiet both sides agree.
func TestPeersMachine(t *testing.T) {
	checkPeers(t, "connect", "connect", "connectAddr", "anyone", "close", "close", "send", "impostor", "cancelled", "refuse", "allow", "late")
}

// The same without disturbances (impostors, refused connections and the like): then no Connect
// fails.
func TestHonestPeersMachine(t *testing.T) {
	checkPeers(t, "connect", "connect", "connect", "send", "close")
}

func checkPeers(t *testing.T, ops ...string) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawPeerStep(ops)), 1, 30).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			m := newPeersMachine(t)
			for _, s := range steps {
				r := m.do(s)
				if s.op == "connect" && !slices.Contains(ops, "impostor") {
					m.honest = append(m.honest, r)
				}
			}
			m.settle()
			if t.Failed() {
				rt.Errorf("failed")
			}
		})
	})
}

type peerStep struct {
	op       string
	from, to int
	beside   bool // the next step does not wait for this one
	wait     time.Duration
}

func drawPeerStep(ops []string) func(t *rapid.T) peerStep {
	return func(t *rapid.T) peerStep {
		from := rapid.IntRange(0, 2).Draw(t, "from")
		return peerStep{
			op:   rapid.SampledFrom(ops).Draw(t, "op"),
			from: from, to: (from + rapid.IntRange(1, 2).Draw(t, "to")) % 3,
			beside: rapid.IntRange(0, 3).Draw(t, "beside") > 0,
			wait:   drawWait(t),
		}
	}
}

func drawWait(t *rapid.T) time.Duration {
	return time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 3, 6, int(quiet / time.Millisecond)}).Draw(t, "wait")) * time.Millisecond
}

type peersMachine struct {
	t       *testing.T
	w       *world
	ns      []*Node
	at      []transport.Addr // of their relays
	boxes   []*Mailbox
	pending []<-chan result[*Conn]
	honest  []*error // of Connects
	loose   []*wire
}

func newPeersMachine(t *testing.T) *peersMachine {
	m := &peersMachine{t: t, w: newWorld(t, "memory")}
	for i, alive := range []string{"alice", "bob", "carol"} {
		n := m.w.started(alive)
		m.ns = append(m.ns, n)
		m.at = append(m.at, m.w.relay(n, 5*time.Millisecond))
		m.boxes = append(m.boxes, box(t, n))
		require.NoError(t, n.Register(t.Context(), "box", m.boxes[i]))
	}
	return m
}

func (m *peersMachine) do(s peerStep) (failure *error) {
	failure = new(error)
	from, to := m.ns[s.from], m.ns[s.to]
	at := m.at[s.to]
	ctx := context.Background()
	var f func() (*Conn, error)
	switch s.op {
	case "connect":
		f = func() (*Conn, error) { return from.Connect(ctx, to.Name()) }
	case "connectAddr":
		f = func() (*Conn, error) { return from.ConnectAddr(ctx, at, to.Name()) }
	case "anyone":
		f = func() (*Conn, error) { return from.ConnectAddr(ctx, at, "") }
	case "send":
		f = func() (*Conn, error) { return nil, m.boxes[s.from].SendName(ctx, to.Name(), "nobody", 1) }
	case "cancelled":
		f = func() (*Conn, error) {
			ctx, cancel := context.WithCancel(ctx)
			go cancel()
			return from.Connect(ctx, to.Name())
		}
	case "close":
		if c := from.Conn(to.Name()); c != nil {
			f = func() (*Conn, error) { return nil, c.Close() }
		}
	case "impostor":
		f = func() (*Conn, error) {
			self := role(from.Name())
			self.Cookie = "guess"
			s, err := m.w.tr.Connect(ctx, at)
			if err == nil {
				_ = newWire(m.t, s).Initiate(self)
				err = s.Close()
			}
			return nil, err
		}
	case "late": // a name that is followed by nothing
		s := of(m.w.tr.Connect(ctx, at)).must(m.t)
		of(s.Writev(ctx, namePacket(m.t, from.Name()))).must(m.t)
		m.loose = append(m.loose, newWire(m.t, s))
	case "refuse", "allow": // new connections find no listener
		if s.op == "refuse" {
			at = transport.MemoryAddr("nowhere")
		}
		m.w.book.set(to.Name(), at)
	}
	if f != nil {
		r := async(func() (*Conn, error) {
			begin := time.Now()
			c, err := f()
			if d := time.Since(begin); d > DefaultHandshakeTimeout+2*nokPause {
				err = errors.Join(err, fmt.Errorf("%s %s -> %s took %v", s.op, from.Name(), to.Name(), d))
				m.t.Error(err)
			}
			*failure = err
			return c, err
		})
		if s.beside {
			m.pending = append(m.pending, r)
		} else {
			<-r
		}
	}
	time.Sleep(s.wait)
	m.check()
	return failure
}

// check holds the table against what may never be.
func (m *peersMachine) check() {
	m.t.Helper()
	for _, n := range m.ns {
		alive := map[string]int{}
		for _, c := range n.connections() {
			if c.Err() == nil {
				alive[c.Name()]++
			}
		}
		for name, count := range alive {
			if count > 1 {
				m.t.Errorf("%s has %d connections to %s", n.name, count, name)
			}
		}
	}
}

// settle waits until nothing goes on any more, and compares both sides.
func (m *peersMachine) settle() {
	for _, r := range m.pending {
		<-r
	}
	for _, p := range m.loose {
		p.Close()
	}
	for _, err := range m.honest {
		if *err != nil {
			m.t.Error(*err)
		}
	}
	time.Sleep(DefaultHandshakeTimeout + time.Second)
	synctest.Wait()
	m.check()
	for i, a := range m.ns {
		for j, b := range m.ns {
			if i >= j {
				continue
			}
			ca, cb := a.Conn(b.Name()), b.Conn(a.Name())
			if (ca == nil) != (cb == nil) {
				m.t.Errorf("%s: %v, %s: %v", a.Name(), ca != nil, b.Name(), cb != nil)
				continue
			}
			if ca == nil {
				continue
			}
			if ca.l.Record().Initiated == cb.l.Record().Initiated {
				m.t.Error("two halves of different connections")
			}
			for _, way := range [][2]int{{i, j}, {j, i}} { // it works
				require.NoError(m.t, m.boxes[way[0]].SendName(m.w.ctx(), m.ns[way[1]].Name(), "box", way[0]))
				require.Equal(m.t, ei.Int(way[0]), term(m.t, m.boxes[way[1]]))
			}
		}
	}
	for _, n := range m.ns {
		if size := tableSize(n); size != len(n.Peers()) {
			m.t.Errorf("%s keeps more of peers than connections: %d", n.name, size)
		}
		for _, name := range n.Peers() {
			if p := n.peers.Look(name); p.Ours != peers.None || p.Theirs {
				m.t.Errorf("%s keeps %+v of %s", n.name, p, name)
			}
		}
	}
}

// Links between processes of two nodes, made and broken from both sides, with signals that cross:
// when all have arrived both sides have the same view.
func TestLinkMachine(t *testing.T) {
	type step struct {
		side, here, there int
		op                string
		wait              time.Duration
	}
	ops := append(slices.Repeat([]string{"link", "unlink"}, 20), "exit", "kill", "drop")
	draw := rapid.Custom(func(t *rapid.T) step {
		return step{
			side: rapid.IntRange(0, 1).Draw(t, "side"),
			here: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "here"), there: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "there"),
			wait: drawWait(t),
			op:   rapid.SampledFrom(ops).Draw(t, "op"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(draw, 1, 40).Draw(rt, "steps")
		bubble(t, func(t *testing.T, w *world) {
			ns := []*Node{w.started("alice"), w.started("bob")}
			for _, n := range ns {
				w.relay(n, 5*time.Millisecond)
			}
			var boxes [2][2]*Mailbox
			for side, n := range ns {
				for i := range boxes[side] {
					boxes[side][i] = trapping(t, n)
				}
			}
			for _, s := range steps {
				x, y := boxes[s.side][s.here], boxes[1-s.side][s.there]
				switch s.op {
				case "link":
					_ = x.Link(w.ctx(), y.Pid())
				case "unlink":
					require.NoError(t, x.Unlink(w.ctx(), y.Pid()))
				case "exit":
					x.Exit(ei.Atom("crash"))
				case "kill":
					_ = x.SendExit(w.ctx(), y.Pid(), ei.Atom("kill"))
				case "drop":
					if c := ns[s.side].Conn(ns[1-s.side].Name()); c != nil {
						c.Close()
					}
				}
				time.Sleep(s.wait)
				if s.wait >= quiet {
					agree(rt, boxes)
				}
			}
			time.Sleep(quiet)
			agree(rt, boxes)
		})
	})
}

// quiet is the time after which all signals have arrived, there and back.
const quiet = 30 * time.Millisecond

// agree compares what the processes of both sides know of their links.
func agree(t *rapid.T, boxes [2][2]*Mailbox) {
	for _, a := range boxes[0] {
		for _, b := range boxes[1] {
			la, lb := linksOf(a)[b.Pid()], linksOf(b)[a.Pid()]
			if la != lb || la.UnlinkID != 0 {
				t.Errorf("%+v on one side, %+v on the other", la, lb)
			}
			if la.Active && (a.Err() != nil || b.Err() != nil) {
				t.Errorf("a link with a process that has ended: %v, %v", a.Err(), b.Err())
			}
		}
	}
}

// relay makes every new connection to a node take some time for its bytes, so that what both sides
// say crosses.
func (w *world) relay(n *Node, delay time.Duration) transport.Addr {
	at := n.Listeners()[0].Addr()
	l := of(w.tr.Listen(transport.MemoryAddr("relay to "+n.Name()), 0)).must(w.t)
	w.book.set(n.Name(), l.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	w.t.Cleanup(func() { cancel(); l.Close(); running.Wait() })
	running.Go(func() {
		for {
			near, err := l.Accept(ctx)
			if err != nil {
				return
			}
			far, err := w.tr.Connect(ctx, at)
			if err != nil {
				near.Close()
				continue
			}
			for _, way := range [][2]*transport.Stream{{near, far}, {far, near}} {
				running.Go(func() {
					carry(ctx, way[0], way[1], delay)
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
	return l.Addr()
}

func carry(ctx context.Context, from, to *transport.Stream, delay time.Duration) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(ctx, b)
		if err != nil {
			return
		}
		time.Sleep(delay)
		if _, err := to.Writev(ctx, b[:n]); err != nil {
			return
		}
	}
}
