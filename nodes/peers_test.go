package nodes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/transport"
)

// Both sides connect at the same time: both Connects return, and one connection is left, the same
// for both.
func TestSimultaneousConnect(t *testing.T) {
	inWorlds(t, []string{"tcp", "memory"}, func(t *testing.T, w *world) {
		ns := []*Node{w.started("alice"), w.started("bob")}
		boxes := []*Mailbox{box(t, ns[0]), box(t, ns[1])}
		for i, n := range ns {
			require.NoError(t, n.Register(t.Context(), "box", boxes[i]))
		}
		for round := range 200 {
			var start, done sync.WaitGroup
			start.Add(1)
			conns := make([]*Conn, 2)
			errs := make([]error, 2)
			for i, n := range ns {
				done.Go(func() {
					start.Wait()
					conns[i], errs[i] = n.Connect(w.ctx(), ns[1-i].Name())
				})
			}
			start.Done()
			inTime(t, "Connect", done.Wait)
			for i := range ns {
				require.NoError(t, errs[i])
			}
			require.Equal(t, conns[0].l.Record().Initiated, !conns[1].l.Record().Initiated, "both ends of one connection")
			for i := range ns {
				require.NoError(t, conns[i].SendName(w.ctx(), "box", round))
				require.Equal(t, ei.Int(round), term(t, boxes[1-i]))
				require.NoError(t, conns[i].Err())
				require.Len(t, ns[i].Peers(), 1)
			}
			for i := range ns {
				go conns[i].Close()
			}
			for i := range ns {
				<-conns[i].l.Left()
			}
		}
		for _, n := range ns {
			require.Empty(t, n.Peers())
			require.Eventually(t, func() bool { return tableSize(n) == 0 }, tooLong, tick)
		}
	})
}

func tableSize(n *Node) int { return n.peers.Size() }

// Many goroutines of one node connect to the same peer: there is one connection, and all get it.
func TestConcurrentConnect(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	a := w.node("alice")
	results := make(chan result[*Conn], 50)
	for range cap(results) {
		go func() { results <- of(a.Connect(w.ctx(), "bob@test")) }()
	}
	var c *Conn
	for range cap(results) {
		r := arrives(t, results, "a connection")
		require.NoError(t, r.err)
		if c == nil {
			c = r.v
		}
		require.Same(t, c, r.v)
	}
	require.NotNil(t, c)
	for _, n := range []*Node{a, b} {
		require.Eventually(t, func() bool { return n.Stats().Connections == 1 }, tooLong, tick)
	}
}

// The peer gives way, but then never connects: the attempt is made again.
func TestConnectAfterNok(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		at := w.ambush("bob@test")
		a := w.node("alice")
		connected := async(func() (*Conn, error) { return a.Connect(context.Background(), "bob@test") })
		p := at.accept()
		require.ErrorIs(t, p.Respond(role("bob@test"), dist.StatusNok), dist.ErrNok)
		p.Close()
		p = at.accept()
		require.NoError(t, p.Respond(role("bob@test"), dist.StatusOK))
		require.NoError(t, (<-connected).err)

		// The peer never connects: the handshake's time ends the attempt, and the error says why.
		begin := time.Now()
		w.ambush("carol@test").refuse(dist.StatusNok)
		_, err := a.Connect(context.Background(), "carol@test")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, DefaultHandshakeTimeout, time.Since(begin))
		require.Equal(t, 1, tableSize(a))
	})
}

// When both sides connect at the same time, that one of the attempts gives way is nothing to warn
// of.
func TestNokIsNoWarning(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := new(record)
		zoe := w.started("zoe", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		at := w.ambush("alice@test")
		connected := async(func() (*Conn, error) { return zoe.Connect(context.Background(), "alice@test") })
		p := at.accept()
		require.ErrorIs(t, w.wire(zoe.Listeners()[0]).Initiate(role("alice@test")), dist.ErrNok)
		require.NoError(t, p.Respond(role("alice@test"), dist.StatusOK))
		require.NoError(t, (<-connected).err)
		mallory := role("mallory@test")
		mallory.Cookie = "wrong"
		require.Error(t, w.wire(zoe.Listeners()[0]).Initiate(mallory))
		synctest.Wait()
		require.EqualValues(t, 2, zoe.Stats().HandshakesFailed)
		require.Len(t, log.Lines("handshake failed"), 1)
		require.Len(t, log.Lines("handshake failed", "mallory"), 1)
	})
}

// refuse answers every connection with a status, until the test ends.
func (a *ambush) refuse(status dist.Status) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	a.w.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for {
			s, err := a.l.Accept(ctx)
			if err != nil {
				return
			}
			p := newWire(a.w.t, s)
			_ = p.Respond(role(a.name), status)
			p.Close()
		}
	}()
}

// An impostor under the name of the node that we connect to, without the cookie, does not keep us
// from connecting.
func TestConnectDespiteImpostor(t *testing.T) {
	w := newWorld(t, "memory")
	at := w.ambush("bob@test")
	failed, hear := failures()
	a, l := w.listening("alice", hear)
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	connected := async(func() (*Conn, error) { return a.Connect(w.ctx(), "bob@test") })
	first := at.accept()
	impostor := role("bob@test")
	impostor.Cookie = "guess"
	require.Error(t, w.wire(l).Initiate(impostor))
	require.ErrorIs(t, arrives(t, failed, "the impostor's end"), dist.ErrBadCookie)
	require.NoError(t, first.Respond(role("bob@test"), dist.StatusOK), "alice has not given it up")
	r := arrives(t, connected, "the connection")
	require.NoError(t, r.err)
	require.NoError(t, l.Close())
	<-accepted
}

// Nor does one that says its name and then nothing more.
func TestConnectDespiteSilence(t *testing.T) {
	for _, alive := range []string{"alice", "carol"} { // either order of names
		w := newWorld(t, "memory")
		at := w.ambush("bob@test")
		a, l := w.listening(alive)
		accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
		w.reticent(l, "bob@test")
		connected := async(func() (*Conn, error) { return a.Connect(w.ctx(), "bob@test") })
		require.NoError(t, at.accept().Respond(role("bob@test"), dist.StatusOK))
		require.NoError(t, arrives(t, connected, "the connection").err)
		require.NoError(t, l.Close())
		<-accepted
	}
}

// A reticent peer withholds its proof until proceed is closed.
type reticent struct {
	*wire
	proceed chan struct{}
	over    <-chan result[dist.Peer]
}

func (w *world) reticent(l *Listener, name string) *reticent {
	w.t.Helper()
	p := &reticent{wire: w.wire(l), proceed: make(chan struct{})}
	ctx := soon(w.t)
	c, err := packets.New(ctx, p.S)
	require.NoError(w.t, err)
	challenged := make(chan struct{})
	p.over = async(func() (dist.Peer, error) {
		return protocol.Initiate(c, role(name), protocol.InitiateOptions{CheckPeer: func(string) error {
			close(challenged)
			select {
			case <-p.proceed:
			case <-ctx.Done():
			}
			return ctx.Err()
		}})
	})
	arrives(w.t, challenged, "the challenge")
	return p
}

// A peer is slow to connect, and we connect to it meanwhile: one of the two attempts succeeds, the
// same one for both sides, and the other one never does.
func TestConnectBesideSlowPeer(t *testing.T) {
	t.Parallel() // it waits
	setup := func(t *testing.T, edit ...func(*Config)) (a *ambush, slow *reticent, n *Node, connected <-chan result[*Conn]) {
		w := newWorld(t, "memory")
		a = w.ambush("alice@test")
		n = w.started("bob", edit...) // to whom alice gives way
		slow = w.reticent(n.Listeners()[0], "alice@test")
		return a, slow, n, async(func() (*Conn, error) { return n.Connect(w.ctx(), "alice@test") })
	}
	t.Run("first", func(t *testing.T) { // it proves itself before it has our name
		_, slow, n, connected := setup(t, func(c *Config) { c.Resolver = &hangingBook{c.Resolver.(*book)} })
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours != peers.None
		}, tooLong, tick)
		close(slow.proceed)
		require.NoError(t, arrives(t, slow.over, "the peer's own").err)
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.False(t, r.v.l.Record().Initiated)
		require.NoError(t, n.Conn("alice@test").Err())
	})
	// for the peer the connection is up; here it cannot come up before the node goes on
	t.Run("at the door", func(t *testing.T) {
		w := newWorld(t, "memory")
		a := w.ambush("alice@test")
		n := w.started("bob")
		slow := w.reticent(n.Listeners()[0], "alice@test")
		n.life.Set(life.Draining)
		close(slow.proceed)
		require.NoError(t, arrives(t, slow.over, "the peer's own").err)
		connected := async(func() (*Conn, error) { return n.Connect(w.ctx(), "alice@test") })
		dialled := async(func() (*transport.Stream, error) { return a.l.Accept(w.ctx()) })
		select {
		case <-dialled:
			require.Fail(t, "dialled beside it")
		case <-time.After(2 * nokPause):
		}
		n.life.Set(life.Open)
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.False(t, r.v.l.Record().Initiated)
		require.NoError(t, r.v.Err())
	})
	// it may have read our name, and given way, when its proof comes
	t.Run("crossing", func(t *testing.T) {
		a, slow, n, connected := setup(t)
		ours := a.accept()
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours == peers.Named
		}, tooLong, tick)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		require.NoError(t, ours.Respond(role("alice@test"), dist.StatusOKSimultaneous))
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.True(t, r.v.l.Record().Initiated)
		require.NoError(t, n.Conn("alice@test").Err())
	})
	t.Run("second", func(t *testing.T) {
		a, slow, n, connected := setup(t)
		require.NoError(t, a.accept().Respond(role("alice@test"), dist.StatusOKSimultaneous))
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.True(t, r.v.l.Record().Initiated)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		require.Same(t, r.v, n.Conn("alice@test"))
	})
	t.Run("between", func(t *testing.T) { // it has our proof by then
		a, slow, n, connected := setup(t)
		ours := a.accept()
		c, err := packets.New(soon(t), ours.S)
		require.NoError(t, err)
		proven := make(chan struct{})
		other := async(func() (dist.Peer, error) {
			who, err := protocol.ReadName(c)
			if err != nil {
				return dist.Peer{}, err
			}
			return protocol.Respond(c, role("alice@test"), who, protocol.RespondOptions{
				Decide: func(protocol.Name) (protocol.Verdict, error) {
					return protocol.Verdict{Status: dist.StatusOKSimultaneous}, nil
				},
				Proven: func() error { <-proven; return nil },
			})
		})
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours == peers.Committed
		}, tooLong, tick)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		close(proven)
		require.NoError(t, arrives(t, other, "ours").err)
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.True(t, r.v.l.Record().Initiated)
	})
}

// A peer that refuses our attempt, after our proof, for one of its own to which ours gives way:
// Connect waits for that one.
func TestConnectRefusedForPeersOwn(t *testing.T) {
	w := newWorld(t, "memory")
	at := w.ambush("bob@test")
	n := w.started("alice")
	connected := async(func() (*Conn, error) { return n.Connect(w.ctx(), "bob@test") })
	ours := at.accept()
	c, err := packets.New(soon(t), ours.S)
	require.NoError(t, err)
	refuses := make(chan struct{})
	refused := async(func() (dist.Peer, error) {
		who, err := protocol.ReadName(c)
		if err != nil {
			return dist.Peer{}, err
		}
		return protocol.Respond(c, role("bob@test"), who, protocol.RespondOptions{
			Decide: func(protocol.Name) (protocol.Verdict, error) { return protocol.Verdict{Status: dist.StatusOK}, nil },
			Proven: func() error { <-refuses; return ErrSuperseded },
		})
	})
	stage := func() peers.Stage { return n.peers.Look("bob@test").Ours }
	require.Eventually(t, func() bool { return stage() == peers.Committed }, tooLong, tick)
	theirs := w.reticent(n.Listeners()[0], "bob@test")
	close(refuses)
	require.ErrorIs(t, arrives(t, refused, "our attempt").err, ErrSuperseded)
	require.NoError(t, ours.S.Close())
	require.Eventually(t, func() bool { return stage() == peers.None }, tooLong, tick)
	close(theirs.proceed)
	require.NoError(t, arrives(t, theirs.over, "the peer's own").err)
	r := arrives(t, connected, "the connection")
	require.NoError(t, r.err)
	require.False(t, r.v.l.Record().Initiated)
}

// A hangingBook does not answer before its caller gives up.
type hangingBook struct{ *book }

func (*hangingBook) Resolve(ctx context.Context, _ string) (Endpoint, error) {
	<-ctx.Done()
	return Endpoint{}, context.Cause(ctx)
}

// alive connects a second time under a name that is connected, and answers the question whether the
// first connection is dead.
func alive(p *wire, self protocol.Self, dead bool) error {
	c, err := packets.New(soon(p.T), p.S)
	require.NoError(p.T, err)
	asked := false
	_, err = protocol.Initiate(c, self, protocol.InitiateOptions{AliveAnswer: func(string) bool { asked = true; return dead }})
	require.True(p.T, asked)
	return err
}

func TestDuplicateConnect(t *testing.T) {
	t.Parallel() // it waits
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, kind)
			failed, hear := failures()
			b := w.started("bob", hear)
			l := b.Listeners()[0]
			box := trapping(t, b)
			require.NoError(t, b.Register(t.Context(), "box", box))
			up := func() *Conn {
				var c *Conn
				require.Eventually(t, func() bool { c = b.Conn("wire@test"); return c != nil }, tooLong, tick)
				return c
			}
			p := w.peer(l, role("wire@test"))
			c := up()
			require.NoError(t, box.Link(w.ctx(), p.Self))
			monitor(t, box, p.Self)
			require.NoError(t, box.MonitorNode(w.ctx(), "wire@test"))

			// It lives: the second one goes.
			q := w.wire(l)
			require.ErrorIs(t, alive(q, role("wire@test"), false), dist.ErrAlive)
			require.ErrorIs(t, arrives(t, failed, "the refusal"), dist.ErrAlive)
			// A peer without the cookie cannot end it.
			impostor := role("wire@test")
			impostor.Cookie = "guess"
			q = w.wire(l)
			require.Error(t, alive(q, impostor, true))
			require.ErrorIs(t, arrives(t, failed, "the refusal"), dist.ErrBadCookie)
			// A peer that does not answer delays no other.
			silent := w.wire(l)
			packets, err := packets.New(w.ctx(), silent.S)
			require.NoError(t, err)
			name, err := protocol.AppendName(nil, protocol.Name{Version: 6, Flags: dist.FlagsDefault, Creation: 77, Name: "wire@test"})
			require.NoError(t, err)
			require.NoError(t, packets.WritePackets(name))
			status, err := packets.ReadPacket()
			require.NoError(t, err)
			require.Equal(t, "salive", string(status))
			require.ErrorIs(t, alive(w.wire(l), role("wire@test"), false), dist.ErrAlive)
			require.ErrorIs(t, arrives(t, failed, "the refusal"), dist.ErrAlive)
			require.NoError(t, c.Err())
			require.Same(t, c, up())
			require.Zero(t, unread(box))

			// It is dead: the second one replaces it, and what the processes had with it breaks
			// before anything new comes.
			q = w.wire(l)
			require.NoError(t, alive(q, role("wire@test"), true))
			q.Self = p.Self
			q.Say("box", ei.Atom("new"))
			require.ErrorIs(t, ended(t, c), ErrSuperseded)
			p.Gone()
			require.ErrorIs(t, arrives(t, failed, "the end of the silent one"), ErrSuperseded)
			silent.Gone()
			var ops []dist.Op
			for len(ops) < 4 {
				m := receive(t, box)
				ops = append(ops, m.Op)
				if m.Op == dist.OpExit || m.Op == dist.OpMonitorPExit {
					require.Equal(t, ei.Atom("noconnection"), decode(t, m.Reason))
				}
			}
			require.ElementsMatch(t, []dist.Op{dist.OpExit, dist.OpMonitorPExit, dist.OpSend}, ops[:3])
			require.Equal(t, dist.OpRegSend, ops[3])
			require.NotSame(t, c, up())
			require.Len(t, b.Peers(), 1)
		})
	}
}

// Two nodes have the same name, by mistake.
func TestTwoNodesOfOneName(t *testing.T) {
	w := newWorld(t, "memory")
	failed, hear := failures()
	var logs [3]record
	logged := func(i int) func(*Config) {
		return func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&logs[i], nil)) }
	}
	a := w.started("alice", hear, logged(0))
	one := w.started("bob", hear, logged(1))
	two := w.started("bob", logged(2), func(cfg *Config) { cfg.Listen = transport.MemoryAddr("elsewhere") })
	at := one.Listeners()[0].Addr()

	_, err := two.ConnectAddr(w.ctx(), at, "")
	require.ErrorIs(t, err, dist.ErrNotAllowed)
	require.ErrorIs(t, arrives(t, failed, "the refusal"), dist.ErrSelf)
	_, err = two.ConnectAddr(w.ctx(), at, "bob@test")
	require.ErrorIs(t, err, dist.ErrSelf)

	c := connect(t, one, "alice@test")
	// The second one of the name looks like the first one's next life.
	connect(t, two, "alice@test")
	require.ErrorIs(t, ended(t, c), io.EOF)
	require.Eventually(t, func() bool {
		c := a.Conn("bob@test")
		return c != nil && c.Peer().Creation == two.Creation()
	}, tooLong, tick)
	// So would a third program. But none that has ended comes back.
	says := func(i int) []string { return logs[i].Lines("level=WARN", "two programs have one name") }
	for i := range logs {
		require.Empty(t, says(i))
	}
	for range 3 {
		for _, n := range []*Node{one, two} {
			connect(t, n, "alice@test")
			require.Eventually(t, func() bool {
				c := a.Conn("bob@test")
				return c != nil && c.Peer().Creation == n.Creation()
			}, tooLong, tick)
			other := []*Node{two, one}[slices.Index([]*Node{one, two}, n)]
			require.Eventually(t, func() bool { return other.Conn("alice@test") == nil }, tooLong, tick)
		}
	}
	for i, who := range []string{"name=bob@test peer=bob@test", "name=bob@test peer=alice@test", "name=bob@test peer=alice@test"} {
		require.Len(t, says(i), 1)
		require.Contains(t, says(i)[0], who)
	}
}

// A program that has lost its connection, and one that starts again, take no name from another one.
func TestComesBackUnderItsName(t *testing.T) {
	w := newWorld(t, "memory")
	var log record
	logged := func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	a, b := w.started("alice", logged), w.started("bob", logged)
	for range 3 {
		for _, end := range []func(){
			func() { require.NoError(t, a.Conn("bob@test").Close()) }, // bob is told
			func() { require.NoError(t, b.Conn("alice@test").Close()) },
		} {
			c := connect(t, b, "alice@test")
			require.Eventually(t, func() bool { return a.Conn("bob@test") != nil }, tooLong, tick)
			end()
			_ = ended(t, c)
		}
	}
	for range 3 {
		p := w.wire(a.Listeners()[0])
		self := role("wire@test")
		self.Creation = randomCreation()
		if a.Conn("wire@test") == nil {
			require.NoError(t, p.Initiate(self))
		} else {
			require.NoError(t, alive(p, self, true))
		}
		require.Eventually(t, func() bool {
			c := a.Conn("wire@test")
			return c != nil && c.Peer().Creation == self.Creation
		}, tooLong, tick)
	}
	require.Empty(t, log.Lines("level=WARN"))
}

// If a peer has closed its connection, and connects again before we have seen the end, it is not
// asked whether the old one is alive: the C library could not answer.
func TestPeerComesBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.started("bob")
		l := b.Listeners()[0]
		first := w.peer(l, role("wire@test"))
		synctest.Wait()
		again := w.wire(l)
		back := async(func() (struct{}, error) { return struct{}{}, again.Initiate(role("wire@test")) })
		synctest.Wait() // its name is there, and the end of the first one is not
		first.Close()
		require.NoError(t, (<-back).err)
		require.Equal(t, dist.StatusOK, again.Node.Status)
		synctest.Wait()
		require.NotNil(t, b.Conn("wire@test"))
		require.NoError(t, b.Close())
	})
}

// A peer that begins anew before its last attempt is done has given that attempt up.
func TestPeerBeginsAnew(t *testing.T) {
	w := newWorld(t, "memory")
	failed, hear := failures()
	b := w.started("bob", hear)
	l := b.Listeners()[0]
	p := w.wire(l)
	packets, err := packets.New(w.ctx(), p.S)
	require.NoError(t, err)
	name, err := protocol.AppendName(nil, protocol.Name{Version: 6, Flags: dist.FlagsDefault, Creation: 77, Name: "wire@test"})
	require.NoError(t, err)
	require.NoError(t, packets.WritePackets(name))
	_, err = packets.ReadPacket()
	require.NoError(t, err)
	w.peer(l, role("wire@test"))
	require.ErrorIs(t, arrives(t, failed, "the end of the first attempt"), ErrSuperseded)
	p.Gone()
	require.Eventually(t, func() bool { return b.Conn("wire@test") != nil }, tooLong, tick)
}

// ConnectAddr without a name learns late which peer it has connected to; it must not disturb a
// connection or attempt that there is, nor leave the two sides with halves of different
// connections.
func TestConnectAddrBesideConnect(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	for _, pair := range [][2]*Node{{a, b}, {b, a}} {
		for range 20 {
			x, y := pair[0], pair[1]
			at := y.Listeners()[0].Addr()
			one := async(func() (*Conn, error) { return x.ConnectAddr(w.ctx(), at, "") })
			two := async(func() (*Conn, error) { return y.Connect(w.ctx(), x.Name()) })
			three := async(func() (*Conn, error) { return x.ConnectAddr(w.ctx(), at, "") })
			r1, r2, r3 := arrives(t, one, "ConnectAddr"), arrives(t, two, "Connect"), arrives(t, three, "ConnectAddr")
			require.NoError(t, r2.err)
			_, _ = r1, r3 // one of them may have been first
			var cx, cy *Conn
			require.Eventually(t, func() bool {
				cx, cy = x.Conn(y.Name()), y.Conn(x.Name())
				return cx != nil && cy != nil && cx.l.Record().Initiated == !cy.l.Record().Initiated
			}, tooLong, tick)
			_, err := cx.RPC(w.ctx(), "m", "f")
			var bad *RPCError
			require.ErrorAs(t, err, &bad, "the connection works")
			require.NoError(t, errors.Join(cx.Close(), cy.Close()))
		}
	}
}

// Of two attempts of one peer the one that was accepted later counts, whichever is finished first.
func TestLateNameOfEarlierAttempt(t *testing.T) {
	w := newWorld(t, "tcp")
	failed, hear := failures()
	b := w.started("bob", hear)
	l := b.Listeners()[0]
	name, err := protocol.AppendName(nil, protocol.Name{Version: 6, Flags: dist.FlagsDefault, Creation: 77, Name: "wire@test"})
	require.NoError(t, err)
	first, second := w.wire(l), w.wire(l)
	packets, err := packets.New(w.ctx(), second.S)
	require.NoError(t, err)
	require.NoError(t, packets.WritePackets(name))
	_, err = packets.ReadPacket() // status
	require.NoError(t, err)
	challenge, err := packets.ReadPacket()
	require.NoError(t, err)
	m, err := protocol.ParseChallenge(challenge)
	require.NoError(t, err)

	require.NoError(t, first.Initiate(role("wire@test")))
	var c *Conn
	require.Eventually(t, func() bool { c = b.Conn("wire@test"); return c != nil }, tooLong, tick)
	require.NoError(t, packets.WritePackets(protocol.AppendReply(nil,
		protocol.Reply{Challenge: 1, Digest: protocol.Digest("secret", m.Challenge)})))
	_, err = packets.ReadPacket() // acknowledgement
	require.NoError(t, err)
	require.ErrorIs(t, ended(t, c), ErrSuperseded)
	first.Gone()
	require.Eventually(t, func() bool { return b.Conn("wire@test") != nil }, tooLong, tick)
	require.Empty(t, failed)
}

// Strangers who use a peer's name do not interrupt its handshake, whether or not there is a
// connection already.
func TestStrangersBesidePeer(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	l := b.Listeners()[0]
	name, err := protocol.AppendName(nil, protocol.Name{Version: 6, Flags: dist.FlagsDefault, Creation: 77, Name: "wire@test"})
	require.NoError(t, err)
	begin := func() *packets.Conn {
		p, err := packets.New(w.ctx(), w.wire(l).S)
		require.NoError(t, err)
		require.NoError(t, p.WritePackets(name))
		return p
	}
	read := func(p *packets.Conn) []byte {
		packet, err := p.ReadPacket()
		require.NoError(t, err)
		return slices.Clone(packet)
	}
	var before *Conn
	for _, status := range []string{"sok", "salive"} {
		p := begin()
		require.Equal(t, status, string(read(p)))
		require.Equal(t, status, string(read(begin())), "a stranger is told the same")
		if status == "salive" {
			require.NoError(t, p.WritePackets([]byte("strue")))
		}
		m, err := protocol.ParseChallenge(read(p))
		require.NoError(t, err)
		require.Equal(t, status, string(read(begin())))
		require.NoError(t, p.WritePackets(protocol.AppendReply(nil,
			protocol.Reply{Challenge: 1, Digest: protocol.Digest("secret", m.Challenge)})))
		read(p) // acknowledgement
		require.Eventually(t, func() bool { c := b.Conn("wire@test"); return c != nil && c != before }, tooLong, tick)
		before = b.Conn("wire@test")
	}
}
