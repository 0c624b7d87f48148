package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// The reply goes to the alias in the form that the node knows; to one that knows no aliases it is
// an ordinary message.
func TestServerRepliesToAlias(t *testing.T) {
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	for without, want := range map[dist.Flags]dist.Control{
		0:                                   {Op: dist.OpAltactSigSend, Flags: dist.AltactAlias, Ref: ref},
		dist.FlagAlias:                      {Op: dist.OpAltactSigSend, Flags: dist.AltactAlias, Ref: ref},
		dist.FlagAltactSig:                  {Op: dist.OpAliasSend, Ref: ref},
		dist.FlagAlias | dist.FlagAltactSig: {Op: dist.OpSendSender},
	} {
		w := newWorld(t, "tcp")
		n := w.started("alice")
		srv := serve(t, n, "srv", newRecorder().server())
		peer := role("wire@test")
		peer.Flags &^= without
		p := w.peer(n.Listeners()[0], peer)
		p.Say("srv", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, otp.AliasTag(ref)}, ei.Int(1)})
		ctl, _ := p.Next()
		want.From = srv.Pid() // what that sends later follows the reply
		if want.Op == dist.OpSendSender {
			want.To = p.Self
		}
		require.Equal(t, want, ctl)
	}
}

// A Call that was read with CallOf no longer needs its message, whether or not the request was
// decoded.
func TestCallOfOutlivesItsMessage(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	b := box(t, n)
	equalKeys := ei.Raw{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2}
	for _, request := range []ei.Term{ei.Binary("text"), equalKeys} {
		tag := ei.Binary("a tag")
		p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, tag}, request})
		m := receive(t, b)
		c, ok := b.CallOf(m)
		require.True(t, ok)
		frame, _ := m.mem.Inside()
		clear(frame) // as the next user of the buffer may do
		require.Equal(t, request, c.Request)
		require.NoError(t, c.Reply(soon(t), 1))
		_, reply := p.Next()
		require.Equal(t, ei.Tuple{tag, ei.Int(1)}, reply)
	}
}

// If a call's connection has moved away and come back, the reply goes over the present connection.
func TestReplyAfterTheConnectionIsBack(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	b := box(t, n)
	p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ei.Int(7)}, ei.Int(1)})
	m := receive(t, b)
	c, ok := b.CallOf(m)
	require.True(t, ok)
	moved := of(n.Conn("wire@test").Detach(soon(t))).must(t)
	require.ErrorIs(t, c.Reply(soon(t), "away"), ErrMoved)
	of(n.Adopt(soon(t), moved)).must(t)
	require.NoError(t, c.Reply(soon(t), "back"))
	_, reply := p.Next()
	require.Equal(t, ei.Tuple{ei.Int(7), ei.Binary("back")}, reply)
}

// A refused request ends no monitor of another node's process, even if the peer uses that monitor's
// reference as its tag.
func TestRefusedCallEndsNoOtherMonitor(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	b := box(t, n)
	ref := ei.Ref{Node: "other@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	require.True(t, b.watched(ref, bonds.Watcher{Pid: ei.Pid{Node: "other@test", ID: 1, Creation: 77}}))
	p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, ei.Int(1)})
	m := receive(t, b)
	b.refuse(m)
	require.Contains(t, watchersOf(b), bonds.MonitorID{Ref: ref, Node: "other@test"})
}

// The caller of a refused request gets a DOWN for the monitor with which it waits, whichever form
// its tag has.
func TestRefusedCallEndsItsMonitor(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	b := box(t, n)
	ref := func(id uint32) ei.Ref {
		return ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{id, 2, 3}}
	}
	alias := ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref(1)}
	for _, tt := range []struct {
		tag ei.Term
		mon ei.Ref
	}{
		{ref(1), ref(1)},
		{alias, ref(1)},
		{ei.ImproperList{Elems: []ei.Term{alias}, Tail: ref(2)}, ref(2)}, // gen_server:multi_call's
	} {
		p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, To: b.Pid(), Ref: tt.mon}, nil)
		p.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, tt.tag}, ei.Int(1)})
		m := receive(t, b)
		b.refuse(m)
		require.Equal(t, ei.Atom("shutdown"), p.down(tt.mon), tt.tag)
	}
}

// The result of a Server's function is the reply, even if the Server's process has ended meanwhile.
func TestServerRepliesAtItsEnd(t *testing.T) {
	n, p := newWorld(t, "memory").met("bob")
	var self *Mailbox
	self = serve(t, n, "srv", Server{Call: func(context.Context, *Call) (any, error) {
		self.Close()
		return "bye", nil
	}})
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	p.Say("srv", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, ei.Atom("stop")})
	_, reply := p.Next()
	require.Equal(t, ei.Tuple{ref, ei.Binary("bye")}, reply)
}

// A request that a process has passed on to a third node is answered to the original caller, also
// by rex.
func TestForwardedCall(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		alice, proxy, bob := w.started("alice"), w.started("proxy"), w.started("bob")
		serve(t, bob, "srv", newRecorder().server())
		bob.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return "result", nil })
		for _, name := range []string{"srv", "rex"} {
			_, err := proxy.Handle(name, func(b *Mailbox, m *Message) {
				payload := ei.Raw(bytes.Clone(m.Payload))
				go func() { _ = b.SendName(context.Background(), "bob@test", name, payload) }()
			}, nil)
			if name == "srv" {
				require.NoError(t, err)
			}
		}
		for _, caller := range []*Node{alice, proxy, bob} {
			require.Equal(t, ei.Tuple{ei.Atom("ok"), ei.Int(1)}, of(caller.CallName(w.ctx(), "proxy@test", "srv", 1)).must(t))
		}
		// In the plain form, as a process that passes a request on would send it.
		b, via := box(t, alice), box(t, proxy)
		ask := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("f"), ei.List{}, ei.Atom("user")}
		require.NoError(t, via.SendName(w.ctx(), "bob@test", "rex", ei.Tuple{b.Pid(), ask}))
		require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Binary("result")}, term(t, b))
	})
}

// A hangingResolver does not answer for one node until the test lets it.
type hangingResolver struct {
	Resolver
	node   string
	asked  chan struct{}
	goesOn chan struct{}
}

func (r *hangingResolver) Resolve(ctx context.Context, node string) (Endpoint, error) {
	if node != r.node {
		return r.Resolver.Resolve(ctx, node)
	}
	select {
	case r.asked <- struct{}{}:
	default:
	}
	select {
	case <-r.goesOn:
	case <-ctx.Done():
	}
	return Endpoint{}, errors.New("no such node")
}

// A reply to a node that is not connected is sent once it is; the Server does not wait for that.
func TestServerAnswersStrangers(t *testing.T) {
	w := newWorld(t, "tcp")
	r := &hangingResolver{node: "nowhere@test", asked: make(chan struct{}, 1), goesOn: make(chan struct{})}
	a := w.started("alice")
	b := w.started("bob", func(c *Config) { r.Resolver, c.Resolver, c.HandshakeTimeout = c.Resolver, r, time.Hour })
	of(a.ConnectAddr(w.ctx(), b.Listeners()[0].Addr(), b.Name())).must(t)
	serve(t, b, "srv", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
	peer := box(t, a)
	lost := ei.Pid{Node: ei.Atom(r.node), ID: 1, Creation: 1}
	say := func(name string, term ei.Term) { require.NoError(t, peer.SendName(w.ctx(), b.Name(), name, term)) }
	ask := func(from ei.Pid, tag ei.Term) { say("srv", genCallFrom(from, tag, ei.Atom("x"))) }
	for range 2 * maxStrangers {
		ask(lost, ei.Int(1))
	}
	for range maxStrangers { // in the form of the C library, and as rex is made to send it
		say("rex", ei.Tuple{lost, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("f"), ei.List{}, ei.Atom("user")}})
		say("rex", ei.Tuple{peer.Pid(), ei.Tuple{ei.Atom("sbcast"), ei.Atom("srv"), genCallFrom(lost, ei.Int(1), ei.Atom("x"))}})
	}
	require.Equal(t, ei.Atom("y"), of(peer.CallName(w.ctx(), b.Name(), "srv", ei.Atom("y"))).must(t))
	require.Eventually(t, b.life.Work.None, tooLong, tick, "the answer to a stranger is waited for")
	require.EqualValues(t, maxStrangersEach, b.strangers.count.Load())
	arrives(t, r.asked, "an attempt to connect")
	close(r.goesOn)
	require.Eventually(t, func() bool { return b.strangers.count.Load() == 0 }, tooLong, tick)

	asks := box(t, w.started("carol"))
	refused := []ei.Raw{ // tags for which carol might end the connection
		{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2},              // a map with equal keys
		append(ei.Raw{111, 0, 8, 0, 0, 0}, make(ei.Raw, 1<<19)...), // a long integer
		// NEW_REFERENCE_EXT with a creation
		{114, 0, 1, 119, 1, 'x', 77, 0, 0, 0, 0},
	}
	refused = append(refused, manyAtoms(t, 2*otp.MaxAtoms))
	oldPid := ei.Raw{103, 119, 1, 'x', 0, 0, 0, 1, 0, 0, 0, 0, 3}
	for range 2 { // the second time over the connection that there is now
		for _, tag := range refused {
			ask(asks.Pid(), tag)
		}
		ask(asks.Pid(), oldPid)
		m := receive(t, asks)
		require.Equal(t, "{#Pid<x.1.0.3>,x}", m.Payload.String())
		require.NotContains(t, string(m.Payload), "g", "PID_EXT was not made a modern one")
	}

	// net_kernel connects to nobody.
	require.Eventually(t, func() bool { return b.strangers.count.Load() == 0 }, tooLong, tick)
	select {
	case <-r.asked: // by one of the first
	default:
	}
	say("net_kernel", genCallFrom(lost, ei.Int(1), ei.Tuple{ei.Atom("is_auth"), ei.Atom(r.node)}))
	of(peer.CallName(w.ctx(), b.Name(), "net_kernel", ei.Atom("x"))).must(t)
	require.Zero(t, b.strangers.count.Load())
	require.Empty(t, r.asked)
}

// hangs is a Resolver that does not answer for a node which is not in its book.
type hangs struct{ *book }

func (h hangs) Resolve(ctx context.Context, node string) (Endpoint, error) {
	if e, err := h.book.Resolve(ctx, node); err == nil {
		return e, nil
	}
	<-ctx.Done()
	return Endpoint{}, context.Cause(ctx)
}

func genCallFrom(from ei.Pid, tag, request ei.Term) ei.Term {
	return ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{from, tag}, request}
}

func stranger(i int) ei.Pid {
	return ei.Pid{Node: ei.Atom(fmt.Sprintf("x%d@nowhere", i)), ID: 1, Creation: 1}
}

func (p *wire) sbcast(name string, message ei.Term) {
	p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("sbcast"), ei.Atom(name), message}})
}

func one(context.Context, *Call) (any, error) { return 1, nil }

// What rex is made to send to rex counts as the peer's that has asked for it.
func TestSbcastCountsAsTheCallers(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice", func(cfg *Config) { cfg.MaxCalls, cfg.OverflowLimit = 8, 8<<20 })
	n.Expose("m", "hang", func(ctx context.Context, _ []ei.Term) (any, error) { <-ctx.Done(); return 1, nil })
	call := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("hang"), ei.List{ei.Binary(make([]byte, 8000))}, ei.Atom("user")}
	for range 3000 { // three times what a peer may take up
		p.sbcast("rex", genCallFrom(p.Self, ei.Int(1), call))
	}
	p.Say("net_kernel", genCallFrom(p.Self, ei.Int(2), ei.Tuple{ei.Atom("is_auth"), ei.Atom("x")}))
	for { // everything has been read
		if _, answer := p.Next(); ei.Identical(answer, ei.Tuple{ei.Int(2), ei.Atom("yes")}) {
			break
		}
	}
	require.LessOrEqual(t, n.requests.Held(), 4<<20)
	require.NotZero(t, n.Stats().CallsRefused)
}

// An answer that a peer makes net_kernel send to another peer, however long, does not use up the
// room for that one's own signals.
func TestLargeAnswerToThirdNode(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice")
	evil, victim := w.peer(n.Listeners()[0], role("evil@test")), w.peer(n.Listeners()[0], role("victim@test"))
	c := w.conn(n, "victim@test")
	ask := func(p *wire, tag ei.Term) {
		p.Say("net_kernel", genCallFrom(victim.Self, tag, ei.Tuple{ei.Atom("is_auth"), ei.Atom("x")}))
	}
	// something is on its way to the victim, but the queue is not full
	for queued := 0; queued == 0; queued, _ = link.Within(&c.l).Queue().Buffered() {
		require.NoError(t, c.SendName(w.ctx(), "x", ei.Binary(make([]byte, 50_000))))
	}
	ask(evil, ei.Binary(make([]byte, 16<<20)))
	ask(evil, ei.Int(2))
	evil.Say("net_kernel", genCallFrom(evil.Self, ei.Int(3), ei.Tuple{ei.Atom("is_auth"), ei.Atom("x")}))
	evil.Next() // it has been asked all that
	ask(victim, ei.Int(1))
	for { // it reads
		if _, reply := victim.Next(); ei.Identical(reply, ei.Tuple{ei.Int(1), ei.Atom("yes")}) {
			break
		}
	}
	require.NoError(t, c.Err())
}

// Answers to nodes that do not exist take little room, and leave some for those that other peers
// have asked for.
func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice", func(cfg *Config) {
		cfg.Resolver, cfg.HandshakeTimeout = hangs{w.book}, time.Hour
	})
	serve(t, n, "srv", Server{Call: one})
	evil, proxy := w.peer(n.Listeners()[0], role("evil@test")), w.peer(n.Listeners()[0], role("proxy@test"))
	tag := ei.Binary(make([]byte, 2<<20))
	for i := range maxStrangersEach + 1 {
		evil.Say("srv", genCallFrom(stranger(i), tag, ei.Atom("q")))
	}
	require.Eventually(t, func() bool { return n.strangers.bytes.Load() > maxStrangerBytes/2 }, tooLong, tick)
	require.LessOrEqual(t, n.strangers.bytes.Load(), int64(maxStrangerBytes+len(tag)))
	require.LessOrEqual(t, n.strangers.count.Load(), int64(maxStrangersEach))
	b := box(t, w.started("carol"))
	proxy.Say("srv", genCallFrom(b.Pid(), ei.Int(1), ei.Atom("q")))
	receive(t, b)
}

// manyAtoms is a list of that many atoms.
func manyAtoms(t *testing.T, n int) ei.Raw {
	t.Helper()
	var list ei.List
	for i := range n {
		list = append(list, ei.Atom(fmt.Sprint("a", i)))
	}
	return encode(t, list)
}

// What rex is made to send is from the peer that has asked for it, also for the functions of a
// Server.
func TestSbcastIsFromThePeer(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	from := make(chan [2]*Conn, 1)
	serve(t, n, "srv", Server{Info: func(ctx context.Context, _ *Mailbox, m *Message) {
		from <- [2]*Conn{m.Conn(), ConnOf(ctx)}
	}})
	p.sbcast("srv", ei.Tuple{ei.Atom("nodedown"), ei.Atom("x@test"), ei.List{}})
	for _, c := range <-from {
		require.NotNil(t, c)
		require.Equal(t, "wire@test", c.Name())
	}
}

// A peer cannot have a Server here send something else than a reply to a process here.
func TestReplyIsAReply(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	b := box(t, n)
	serve(t, n, "echo", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
	p.Say("echo", genCallFrom(b.Pid(), ei.Atom("$gen_cast"), ei.Atom("made up")))
	p.Say("echo", genCallFrom(b.Pid(), ei.Int(1), ei.Atom("a reply")))
	require.Equal(t, ei.Tuple{ei.Int(1), ei.Atom("a reply")}, term(t, b))
}
