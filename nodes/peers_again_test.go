package nodes

import (
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// alive connects a second time under a name that is connected, and answers the question whether the
// first connection is dead.
func alive(p *wire, self protocol.Self, dead bool) error {
	c := of(packets.New(soon(p.T), p.S)).must(p.T)
	asked := false
	_, err := protocol.Initiate(c, self, protocol.InitiateOptions{AliveAnswer: func(string) bool { asked = true; return dead }})
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
			box := registered(t, b, "box", &MailboxOptions{TrapExit: true})
			p := w.peer(l, role("wire@test"))
			c := w.conn(b, "wire@test")
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
			silent := w.begun(l, "wire@test")
			require.Equal(t, "salive", silent.packet())
			require.ErrorIs(t, alive(w.wire(l), role("wire@test"), false), dist.ErrAlive)
			require.ErrorIs(t, arrives(t, failed, "the refusal"), dist.ErrAlive)
			require.NoError(t, c.Err())
			require.Same(t, c, b.Conn("wire@test"))
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
			require.NotSame(t, c, w.conn(b, "wire@test"))
			require.Len(t, b.Peers(), 1)
		})
	}
}

// Two nodes have the same name, by mistake.
func TestTwoNodesOfOneName(t *testing.T) {
	w := newWorld(t, "memory")
	failed, hear := failures()
	var logs [3]record
	a := w.started("alice", hear, logsTo(&logs[0]))
	one := w.started("bob", hear, logsTo(&logs[1]))
	two := w.started("bob", logsTo(&logs[2]), func(cfg *Config) { cfg.Listen = transport.MemoryAddr("elsewhere") })
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
	a, b := w.started("alice", logsTo(&log)), w.started("bob", logsTo(&log))
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
		self.Creation = rand.Uint32()
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
		require.Equal(t, protocol.StatusOK, again.Node.Status)
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
	p := w.begun(l, "wire@test")
	p.packet() // its name has been read
	w.peer(l, role("wire@test"))
	require.ErrorIs(t, arrives(t, failed, "the end of the first attempt"), ErrSuperseded)
	p.Gone()
	w.conn(b, "wire@test")
}
