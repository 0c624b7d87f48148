//go:build unix

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// movers are the kinds of transports whose connections can be handed over.
var movers = []string{"tcp", "unix"}

// A shuttle is one node name that belongs to two Node values, between which connections move.
type shuttle struct {
	w    *world
	here int
	n    [2]*Node
	c    *Conn
}

func same(creation uint32) func(*Config) { return func(c *Config) { c.Creation = creation } }

// shuttle makes the two nodes and connects the first one to the peer.
func (w *world) shuttle(peer string, started bool, edit ...func(*Config)) *shuttle {
	w.t.Helper()
	r := &shuttle{w: w}
	for i := range r.n {
		worker := func(c *Config) { c.Worker = uint16(i) }
		r.n[i] = w.node("mover", append(edit, same(4711), worker)...)
		r.n[i].started.Store(started)
		r.n[i].freezeTime = tooLong
	}
	c := connect(w.t, r.n[0], peer)
	r.c = c
	return r
}

// shuttled is a shuttle whose peer receives on the lower level, and the peer's end.
func (w *world) shuttled(started bool, edit ...func(*Config)) (*shuttle, *Conn) {
	w.t.Helper()
	_, l := w.listening("peer")
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	r := w.shuttle("peer@test", started, edit...)
	return r, arrives(w.t, accepted, "the connection").must(w.t)
}

// move detaches the connection from one node and gives it to the other.
func (r *shuttle) move() *Node {
	r.w.t.Helper()
	m := detach(r.w.t, r.c)
	require.ErrorIs(r.w.t, r.c.Err(), ErrMoved)
	r.here = 1 - r.here
	r.c = adopt(r.w.t, r.n[r.here], m)
	return r.n[r.here]
}

func detach(t testing.TB, c *Conn) *Moved {
	t.Helper()
	return of(c.Detach(soon(t))).must(t)
}

func adopt(t testing.TB, n *Node, m *Moved) *Conn {
	t.Helper()
	return of(n.Adopt(soon(t), m)).must(t)
}

// numbers checks that messages come in order: 0, 1, 2, …
type numbers struct {
	mu   sync.Mutex
	next int64
	all  chan struct{} // closed when last has come
	last int64
	bad  error
}

func newNumbers(last int64) *numbers { return &numbers{last: last, all: make(chan struct{})} }

func (s *numbers) take(m *Message) {
	c := ei.NewCursor(m.Payload)
	if size, err := c.Tuple(); err != nil || size != 2 {
		s.wrong(fmt.Errorf("not a pair: %v", err))
		return
	}
	v, err := c.Int()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil || v != s.next:
		if s.bad == nil {
			s.bad = fmt.Errorf("%d came, %d was due (%v)", v, s.next, err)
			close(s.all)
		}
	case s.bad == nil:
		if s.next++; s.next == s.last {
			close(s.all)
		}
	}
}

func (s *numbers) wrong(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad == nil {
		s.bad = err
		close(s.all)
	}
}

func (s *numbers) wait(t testing.TB, what string) {
	t.Helper()
	select {
	case <-s.all:
		require.NoError(t, s.bad, what)
	case <-time.After(60 * time.Second):
		require.FailNow(t, "not all came: "+what, "%d of %d\n%s", s.next, s.last, stacks())
	}
}

// numberedPair is message number i: a small one, or now and then one of some size.
func numberedPair(i int64) ei.Term {
	size := 20
	switch {
	case i%1000 == 999:
		size = 300_000
	case i%50 == 49:
		size = 20_000
	}
	return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, size))}
}

// finish says how many messages are to come.
func (s *numbers) finish(last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = last
	if s.bad == nil && s.next == last {
		close(s.all)
	}
}

// A load is what goes both ways over a connection while that moves.
type load struct {
	senders int // on each side
	message func(i int64) ei.Term
	narrow  bool // so that moves come in the midst of messages
	moves   int
	flags   dist.Flags
}

// A peer exchanges numbered messages with a connection that moves between two nodes all the time:
// none is lost, none comes twice, the order is kept, and the peer notices nothing.
func TestMoveUnderLoad(t *testing.T) {
	l := load{senders: 1, message: numberedPair, moves: need.Fewer(30, 100)}
	inWorlds(t, movers, l.move)
}

func (l *load) move(t *testing.T, w *world) {
	ctx := w.ctx()
	peer := w.started("peer")
	r := w.shuttle("peer@test", true, func(c *Config) { c.Flags = l.flags })
	watcher := box(t, peer)
	require.NoError(t, watcher.MonitorNode(ctx, "mover@test"))
	there := w.conn(peer, "mover@test")
	if l.narrow {
		for _, s := range []*transport.Stream{r.c.l.Stream(), there.l.Stream()} {
			require.NoError(t, errors.Join(rawpeer.Narrow(s, unix.SO_SNDBUF), rawpeer.Narrow(s, unix.SO_RCVBUF)))
		}
		require.NoError(t, there.l.StopReading(ctx)) // so that the first move is amid messages to the peer
	}
	in, out := make([]*numbers, l.senders), make([]*numbers, l.senders)
	for i := range l.senders {
		in[i], out[i] = newNumbers(-1), newNumbers(-1)
	}
	sink := func(to []*numbers) Handler {
		return func(_ *Mailbox, m *Message) {
			c := ei.NewCursor(m.Payload)
			of(c.Tuple()).must(t)
			sender := of(c.Int()).must(t)
			to[sender].take(&Message{Payload: m.Payload[c.Offset():]})
			m.Release()
		}
	}
	for _, n := range r.n {
		handle(t, n, "sink", sink(in))
	}
	handle(t, peer, "sink", sink(out))
	var over atomic.Bool
	var current atomic.Pointer[Conn]
	current.Store(r.c)
	var wg sync.WaitGroup
	for sender := range l.senders {
		wg.Go(func() {
			b, i := box(t, peer), int64(0)
			for !over.Load() && assert.NoError(t, b.SendName(ctx, "mover@test", "sink", ei.Tuple{ei.Int(sender), l.message(i)})) {
				i++
			}
			in[sender].finish(i)
		})
		wg.Go(func() {
			ctl := &dist.Control{Op: dist.OpRegSend, From: ei.Pid{Node: "mover@test", ID: uint32(sender), Creation: 4711}, ToName: "sink"}
			i, moved := int64(0), true
			for moved && !over.Load() {
				c := current.Load()
				if err := c.SendControl(ctx, ctl, encode(t, ei.Tuple{ei.Int(sender), l.message(i)})); err == nil {
					i++
				} else if moved = assert.ErrorIs(t, err, ErrMoved); moved { // nothing was sent
					<-c.l.Left()
				}
			}
			out[sender].finish(i)
		})
	}
	moves, amidIn, amidOut := 0, 0, 0
	for ; moves < l.moves || l.narrow && (amidIn == 0 || amidOut == 0); moves++ {
		require.NoError(t, ctx.Err())
		if l.narrow && moves == 0 {
			require.Eventually(t, func() bool { return r.c.l.Traffic().BytesQueued > 200_000 }, tooLong, tick)
		}
		m := detach(t, r.c)
		if l.narrow && moves == 0 {
			there.l.ResumeReading()
		}
		var s states.Conn
		require.NoError(t, form.Read(states.KindConn, m.State, &s))
		amidIn, amidOut = amidIn+min(len(s.Incoming), 1), amidOut+min(len(s.Outgoing), 1)
		r.here = 1 - r.here
		r.c = adopt(t, r.n[r.here], m)
		before := r.c.l.Traffic().BytesReceived
		current.Store(r.c)
		require.Eventually(t, func() bool { return r.c.l.Traffic().BytesReceived > before }, tooLong, tick/10)
	}
	over.Store(true)
	wg.Wait()
	for i := range l.senders {
		in[i].wait(t, "to the mover")
		out[i].wait(t, "to the peer")
	}
	t.Logf("%d moves, %d amid messages that came, %d amid messages that went", moves, amidIn, amidOut)
	require.Nil(t, watcher.take(), "no nodedown")
	require.EqualValues(t, 1, peer.Stats().Connections)
}

// An operation that fails on a frozen connection returns its error at once, though the connection
// ends only when it is thawed.
func TestFrozenFailure(t *testing.T) {
	c, _ := newWorld(t, "tcp").pair()
	f := freeze(t, c)
	require.ErrorIs(t, link.Within(&c.l).SendError(soon(t), errFault), errFault)
	require.ErrorIs(t, link.Within(&c.l).ReceiveError(soon(t), io.ErrUnexpectedEOF), io.ErrUnexpectedEOF)
	require.NoError(t, c.Err())
	f.Thaw()
	require.ErrorIs(t, ended(t, c), errFault, "the first one")
}

// On the lower level a Receive that waits gets ErrMoved, and what the peer sends then is received
// by the new owner.
func TestMoveReceive(t *testing.T) {
	r, p := newWorld(t, "tcp").shuttled(false)
	moved := make(events, 10)
	for _, n := range r.n {
		n.Measure(moved.hooks())
	}
	self := r.c.Self()
	old := r.c
	waiting := async(func() (*Message, error) { return old.Receive(context.Background()) })
	require.Eventually(t, link.Within(&old.l).Reading, tooLong, tick)
	r.move()
	require.Equal(t, "moved peer@test", <-moved)
	require.Equal(t, "adopted peer@test", <-moved)
	require.ErrorIs(t, (<-waiting).err, ErrMoved)
	require.ErrorIs(t, old.Send(soon(t), p.Self(), 1), ErrMoved)
	require.NoError(t, old.Close(), "there is nothing left to close")
	require.Equal(t, self, r.c.Self())
	require.Equal(t, p.Peer().Name, r.c.Node().Name())
	require.NoError(t, p.Send(soon(t), self, 7))
	m := receive(t, r.c)
	require.Equal(t, self, m.To)
	require.NoError(t, r.c.Send(soon(t), p.Self(), 8))
	m = receive(t, p)
	require.Equal(t, p.Self(), m.To)
	r.move()
	require.NoError(t, r.c.Close())
	_, err := p.Receive(soon(t))
	require.ErrorIs(t, err, io.EOF)
}

// Messages that a Call has read besides its reply move too; the Call itself does not.
func TestMoveBesideCall(t *testing.T) {
	r, p := newWorld(t, "tcp").shuttled(false)
	old := r.c
	call := async(func() (ei.Term, error) { return old.RPC(context.Background(), "m", "f") })
	for range 2 { // the monitor and the request
		receive(t, p)
	}
	require.NoError(t, p.Send(soon(t), old.Self(), "kept"))
	require.Eventually(t, func() bool { return old.l.Traffic().MessagesReceived == 1 }, tooLong, tick)
	r.move()
	require.ErrorIs(t, (<-call).err, ErrMoved)
	m := receive(t, p)
	require.Equal(t, dist.OpDemonitorP, m.Op, "the peer need not watch for a call that nobody waits for")
	m = receive(t, r.c)
	require.Equal(t, ei.Binary("kept"), content(t, m))
	require.Same(t, r.c, m.Conn())
}

// Half a frame in each direction, byte by byte: the reader and the writer stop anywhere.
func TestMoveHalfFrames(t *testing.T) {
	w := newWorld(t, "tcp")
	a := w.ambush("peer@test")
	connected := async(func() (*shuttle, error) {
		return w.shuttle("peer@test", true, func(c *Config) { c.QueueLimit, c.Flags = 64<<20, withoutFragments }), nil
	})
	p := a.accept()
	require.NoError(t, p.Respond(role("peer@test"), protocol.StatusOK))
	r := (<-connected).v
	sink := newNumbers(3)
	for _, n := range r.n {
		handle(t, n, "sink", func(_ *Mailbox, m *Message) { sink.take(m) })
	}
	var bytes []byte
	for i := range 3 {
		bytes = append(bytes, frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "sink"}, ei.Tuple{ei.Int(i), ei.Binary("x")})...)
	}
	for i, b := range bytes {
		require.NoError(t, p.Write([]byte{b}))
		if i%3 == 0 {
			require.Eventually(t, func() bool { // the byte has been read
				n, err := r.c.l.Stream().PendingBytes()
				return err == nil && n == 0
			}, tooLong, tick)
		}
		r.move()
	}
	sink.wait(t, "the three messages")

	// The peer reads nothing: our window fills, and the queue with it. Then it reads byte by byte
	// while the connection moves.
	c := r.c
	require.NoError(t, errors.Join(rawpeer.Narrow(c.l.Stream(), unix.SO_SNDBUF), rawpeer.Narrow(p.S, unix.SO_RCVBUF)))
	// more than the window; a move copies it several times, and must not take long
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i % 251)
	}
	send := func(i int) <-chan result[any] {
		queued, _ := link.Within(&c.l).Queue().Buffered()
		sent := async(func() (any, error) { return nil, c.SendName(context.Background(), "peer", []any{i, big}) })
		require.Eventually(t, func() bool { now, _ := link.Within(&c.l).Queue().Buffered(); return now > queued }, tooLong, tick)
		return sent
	}
	first, second := send(0), send(-1)
	for i := range 20 {
		require.NoError(t, c.SendName(w.ctx(), "peer", []any{1 + i, "small"}))
	}
	var head [1]byte
	var got []byte
	for range 200 {
		_, err := p.S.Readv(w.ctx(), head[:])
		require.NoError(t, err)
		got = append(got, head[0])
		if len(got)%10 == 0 {
			r.move()
		}
	}
	require.NoError(t, (<-first).err, "part of it was out")
	require.ErrorIs(t, (<-second).err, ErrMoved, "nothing of it was sent: it waited for its turn")
	require.NoError(t, p.S.Preload(got))
	for i := range 21 {
		_, payload := p.Next()
		list := payload.(ei.List)
		require.Equal(t, ei.Int(i), list[0])
		if i == 0 {
			require.Equal(t, ei.Binary(big), list[1])
		}
	}
}

// Links and monitors survive a move, whichever side made them.
func TestMoveBonds(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	r := w.shuttle("peer@test", true)
	ctx := w.ctx()
	theirs := make([]*Mailbox, 4)
	ours := make([]*Mailbox, 4)
	for i := range theirs {
		theirs[i] = trapping(t, peer)
		ours[i] = trapping(t, r.n[0])
	}
	require.NoError(t, ours[0].Link(ctx, theirs[0].Pid()))
	require.NoError(t, theirs[1].Link(ctx, ours[1].Pid()))
	ref2 := monitor(t, ours[2], theirs[2].Pid())
	ref3 := monitor(t, theirs[3], ours[3].Pid())
	require.NoError(t, ours[0].MonitorNode(ctx, "peer@test"))
	require.Eventually(t, func() bool {
		return len(watchersOf(ours[3])) > 0 && len(watchersOf(theirs[2])) > 0
	}, tooLong, tick)
	for range 3 { // away and back
		m := detach(t, r.c)
		require.Empty(t, linksOf(ours[0]))
		require.Empty(t, ours[0].nodes.Owed(""))
		r.c = adopt(t, r.n[0], m)
	}
	for _, b := range append(theirs, ours...) {
		require.Nil(t, b.take(), "nobody has heard of it")
	}
	theirs[0].Exit(ei.Atom("one"))
	requireExit(t, ours[0], theirs[0].Pid(), "one")
	ours[1].Exit(ei.Atom("two"))
	requireExit(t, theirs[1], ours[1].Pid(), "two")
	theirs[2].Exit(ei.Atom("three"))
	requireDown(t, ours[2], ref2, "three")
	ours[3].Exit(ei.Atom("four"))
	requireDown(t, theirs[3], ref3, "four")
	require.NoError(t, r.c.Close())
	require.Equal(t, dist.OpSend, receive(t, ours[0]).Op, "the nodedown")
}

func requireExit(t testing.TB, b *Mailbox, from ei.Pid, reason ei.Atom) {
	t.Helper()
	m := receive(t, b)
	require.Equal(t, dist.OpExit, m.Op)
	require.Equal(t, from, m.From)
	require.Equal(t, reason, decode(t, m.Reason))
}

func requireDown(t testing.TB, b *Mailbox, ref ei.Ref, reason ei.Atom) {
	t.Helper()
	m := receive(t, b)
	require.Equal(t, dist.OpMonitorPExit, m.Op)
	require.Equal(t, ref, m.Ref)
	require.Equal(t, reason, decode(t, m.Reason))
}

// To the peer, processes that do not move with their connection have ended.
func TestMoveWithoutProcesses(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	r := w.shuttle("peer@test", true)
	ctx := w.ctx()
	theirs := trapping(t, peer)
	ours := trapping(t, r.n[0])
	require.NoError(t, theirs.Link(ctx, ours.Pid()))
	require.Eventually(t, func() bool {
		return len(linksOf(ours)) > 0
	}, tooLong, tick)
	r.move()
	requireExit(t, theirs, ours.Pid(), "noproc")
	require.NoError(t, ours.Err(), "here it lives")
	require.Nil(t, ours.take())
}

// Monitors of a name pass to the process that has it in the new process: a call that has sent only
// its monitor so far reaches that one.
func TestMoveMonitorOfName(t *testing.T) {
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	r := w.shuttle("peer@test", true)
	var servers []*Mailbox
	for _, n := range r.n {
		b := serve(t, n, "srv", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
		servers = append(servers, b)
	}
	serve(t, r.n[0], "only_here", Server{})
	b := box(t, peer)
	ref := of(b.MonitorName(w.ctx(), "mover@test", "srv")).must(t)
	lost := of(b.MonitorName(w.ctx(), "mover@test", "only_here")).must(t)
	v := of(b.CallName(w.ctx(), "mover@test", "srv", ei.Atom("before"))).must(t)
	require.Equal(t, ei.Atom("before"), v)
	r.move()
	v = of(b.CallName(w.ctx(), "mover@test", "srv", ei.Atom("after"))).must(t)
	require.Equal(t, ei.Atom("after"), v)
	down := func(ref ei.Ref, why string) {
		m := receive(t, b)
		require.Equal(t, ref, m.Ref)
		require.Equal(t, ei.Atom(why), decode(t, m.Reason))
	}
	down(lost, "noproc")
	servers[0].Exit(ei.Atom("the_old_one"))
	servers[1].Exit(ei.Atom("the_new_one"))
	down(ref, "the_new_one")
}

// Close of a frozen connection returns ErrMoved once the connection goes on elsewhere; Close after
// that returns nil.
func TestCloseOfConnThatMoves(t *testing.T) {
	ca, cb := newWorld(t, "tcp").pair()
	f := freeze(t, ca)
	closed := async(func() (any, error) { return nil, ca.Close() })
	require.Eventually(t, func() bool { // it waits
		return link.Within(&ca.l).Pending() != nil
	}, tooLong, tick)
	defer descriptor.Close(duplicates(t, f.Descriptors())[0])
	require.NoError(t, f.Release())
	require.ErrorIs(t, arrives(t, closed, "the end of Close").err, ErrMoved)
	require.NoError(t, ca.Close())
	require.NoError(t, cb.Err())
}

// A peer has lost its connection to one process and made another one. If both connections move to
// the same node, the later one counts, whichever arrives first.
func TestAdoptAfterReconnect(t *testing.T) {
	inWorlds(t, movers, func(t *testing.T, w *world) {
		front, l := w.listening("mover", same(4711))
		inner := w.node("mover", same(4711), func(c *Config) { c.Worker = 1 })
		peer := w.node("peer")
		var moved []*Moved
		for range 3 {
			ours, theirs := w.join(peer, front, l)
			moved = append(moved, detach(t, theirs))
			if len(moved) < 3 {
				require.NoError(t, ours.Close())
			}
		}
		second := adopt(t, inner, moved[1])
		_, err := inner.Adopt(w.ctx(), moved[0])
		require.ErrorIs(t, err, ErrConnected, "made before")
		require.Same(t, second, inner.Conn("peer@test"))

		frozen := freeze(t, second)
		_, err = inner.Adopt(w.ctx(), &Moved{moved[2].State, duplicates(t, []int{moved[2].FD})[0]})
		require.ErrorIs(t, err, ErrConnected, "frozen")
		frozen.Thaw()
		// the end of the second one has not been read yet
		third := adopt(t, inner, moved[2])
		require.ErrorIs(t, second.Err(), ErrSuperseded)
		require.Same(t, third, inner.Conn("peer@test"))
		require.NoError(t, peer.Conn("mover@test").Send(w.ctx(), third.Self(), 1))
		require.Equal(t, ei.Int(1), term(t, third))
	})
}

// A state that is not of a connection of this node is refused, and the caller keeps the descriptor.
func TestStageRefused(t *testing.T) {
	w := newWorld(t, "tcp")
	w.started("peer")
	r := w.shuttle("peer@test", true)
	f := freeze(t, r.c)
	defer f.Thaw()
	for name, n := range map[string]*Node{
		"another node": w.node("stranger", same(4711)),
		"another life": w.node("mover", same(4712)),
	} {
		_, err := n.Stage(f.State(), f.Descriptors()[0])
		require.ErrorIs(t, err, ErrOtherNode, name)
	}
	_, err := r.n[0].Stage(f.State(), f.Descriptors()[0])
	require.ErrorIs(t, err, ErrConnected)
	var bad *form.Error
	_, err = r.n[1].Stage(f.State()[:20], f.Descriptors()[0])
	require.ErrorAs(t, err, &bad)
	_, err = r.n[1].Stage(nil, f.Descriptors()[0])
	require.ErrorIs(t, err, ErrState)

	s := of(r.n[1].Stage(f.State(), duplicates(t, f.Descriptors())[0])).must(t)
	require.Nil(t, r.n[1].Conn("peer@test"), "not yet")
	require.NoError(t, s.Discard())
	require.NoError(t, s.Discard())
	_, err = s.Start(w.ctx())
	require.Error(t, err)
}

// The start of a connection that has to wait, for the end of a freeze, is given up with its
// context, and the connection with it.
func TestStartGivenUp(t *testing.T) {
	w := newWorld(t, "tcp")
	w.started("peer")
	r := w.shuttle("peer@test", true)
	m := detach(t, r.c)
	s := of(r.n[1].Stage(m.State, m.FD)).must(t)
	f := freeze(t, r.n[1])
	ctx, end := context.WithCancel(w.ctx())
	begun := async(func() (*Conn, error) { return s.Start(ctx) })
	end()
	require.ErrorIs(t, arrives(t, begun, "the end of Start").err, context.Canceled)
	f.Thaw()
	require.Nil(t, r.n[1].Conn("peer@test"))
	_, err := s.Start(w.ctx())
	require.ErrorIs(t, err, ErrStarted)
	require.NoError(t, s.Discard())
}

// A connection can move between two nodes that make the same pids, but the log warns of it. It may
// come back to the same node.
func TestSameWorker(t *testing.T) {
	w := newWorld(t, "tcp")
	w.started("peer")
	r := w.shuttle("peer@test", true)
	var log record
	logged := func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	twin := w.node("mover", same(4711), logged)
	twin.started.Store(true)
	for i, n := range []*Node{twin, twin, r.n[1]} {
		r.c = adopt(t, n, detach(t, r.c))
		require.Len(t, log.Lines("level=WARN", "same Config.Worker", "peer=peer@test", "worker=0"), 1, "move %d", i)
	}
}

// A Moved is closed only once: after that its descriptor's number may be another file's.
func TestMovedIsClosedOnce(t *testing.T) {
	w := newWorld(t, "tcp")
	w.started("peer")
	r := w.shuttle("peer@test", true)
	m := detach(t, r.c)
	c := adopt(t, r.n[1], m)
	_, err := r.n[0].Adopt(w.ctx(), m)
	require.ErrorIs(t, err, ErrClosed, "there is nothing to adopt")
	require.NoError(t, m.Close())
	require.NoError(t, c.Err())

	m = detach(t, c)
	number := m.FD
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	_, err = r.n[0].Adopt(ctx, m)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, -1, m.FD)
	other := of(unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, number)).must(t) // that number, as a rule
	require.NoError(t, m.Close())
	require.NoError(t, unix.Close(other))
}

// What processes that have stayed send to the peer of a connection that has moved does not connect
// to it: the peer would give the moved connection up.
func TestStayingProcessesLeaveMovedPeer(t *testing.T) {
	w := newWorld(t, "tcp")
	b := box(t, w.started("peer"))
	require.NoError(t, b.n.Register(t.Context(), "box", b))
	r := w.shuttle("peer@test", true)
	stays := box(t, r.n[0])
	sends := map[string]func() error{
		"Send":     func() error { return stays.Send(w.ctx(), b.Pid(), 1) },
		"SendName": func() error { return stays.SendName(w.ctx(), "peer@test", "box", 1) },
		"Link":     func() error { return stays.Link(w.ctx(), b.Pid()) },
		"Monitor":  func() error { _, err := stays.Monitor(w.ctx(), b.Pid()); return err },
		"CallName": func() error { _, err := r.n[0].CallName(w.ctx(), "peer@test", "box", 1); return err },
		"RPC":      func() error { _, err := r.n[0].RPC(w.ctx(), "peer@test", "m", "f"); return err },
	}
	r.move()
	for name, send := range sends {
		err := send()
		require.ErrorIs(t, err, ErrMoved, name)
		require.NotErrorIs(t, err, ErrNoConnection, name)
		require.NoError(t, r.c.Err(), name)
	}
	r.move() // back
	require.NoError(t, sends["Send"]())
	require.NoError(t, sends["Monitor"]())
	r.move()
	require.ErrorIs(t, sends["Send"](), ErrMoved)
	moved := r.c
	of(r.n[0].Connect(w.ctx(), "peer@test")).must(t) // as somebody wishes
	<-moved.Done()
	require.NoError(t, sends["Send"]())
	require.NoError(t, r.n[0].Conn("peer@test").Close())
	require.NoError(t, sends["SendName"](), "it connects on demand again")
}
