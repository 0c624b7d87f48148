package nodes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// answerCalls plays rex on the lower level: answer gets each gen call that arrives on c.
func answerCalls(t testing.TB, c *Conn, answer func(from ei.Pid, tag ei.Raw, request ei.Tuple)) {
	go func() {
		for {
			m, err := c.Receive(context.Background())
			if err != nil {
				return
			}
			if m.Op != dist.OpRegSend { // a monitor comes before the call, and is ended after it
				continue
			}
			q := otp.ReadRequest(m.Payload)
			if q.Kind != otp.Call {
				t.Errorf("no gen call: %v", m.Payload)
				return
			}
			request, err := q.Body.Decode()
			if err != nil {
				t.Error(err)
				return
			}
			answer(q.From.Pid, append(ei.Raw(nil), q.Tag...), request.(ei.Tuple))
		}
	}()
}

// echo answers {call, M, F, [X], user} with X, each time behind so many numbered messages.
func echo(t testing.TB, c *Conn, behind int) {
	n := 0
	answerCalls(t, c, func(from ei.Pid, tag ei.Raw, request ei.Tuple) {
		for range behind {
			assert.NoError(t, c.SendName(context.Background(), "x", n))
			n++
		}
		assert.NoError(t, c.Send(context.Background(), from, ei.Tuple{tag, request[3].(ei.List)[0]}))
	})
}

// callsTogether makes so many calls at once, none of which may get another one's reply.
func callsTogether(t *testing.T, w *world, c *Conn, n int) {
	t.Helper()
	results := make(chan result[ei.Term], n)
	for i := range n {
		go func() { results <- of(c.RPC(w.ctx(), "m", "f", i)) }()
	}
	seen := map[ei.Term]bool{}
	for range n {
		seen[arrives(t, results, "a reply").must(t)] = true
	}
	require.Len(t, seen, n)
}

// Calls on a connection whose peer waits to be received from, from many goroutines, none of which
// receives.
func TestConnCall(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		ca, cb := w.pair()
		echo(t, cb, 0)
		callsTogether(t, w, ca, 50)
	})
}

// A call that is made while another goroutine receives gets its reply, and the receiver gets all
// else, in order.
func TestConnCallBesideReceive(t *testing.T) {
	w := newWorld(t, "tcp")
	ca, cb := w.pair()
	const messages = 200
	echo(t, cb, messages/20)
	received := async(func() (int, error) {
		m := new(Message)
		for i := range messages {
			if err := ca.ReceiveInto(w.ctx(), m); err != nil {
				return i, err
			}
			term, err := m.Term()
			if err != nil || m.Op != dist.OpRegSend || term != ei.Int(i) {
				return i, fmt.Errorf("got %v %v, %w", m.Op, term, err)
			}
		}
		return messages, nil
	})
	require.Eventually(t, link.Within(&ca.l).Reading, tooLong, tick)
	callsTogether(t, w, ca, 20)
	arrives(t, received, "the messages beside").must(t)
}

// A reply that a Receive in progress reads gets to its call, and the Receive goes on to the next
// message.
func TestConnCallReadByReceive(t *testing.T) {
	ca, cb := newWorld(t, "memory").pair()
	echo(t, cb, 0)
	received := async(func() (*Message, error) { return ca.Receive(soon(t)) })
	require.Eventually(t, link.Within(&ca.l).Reading, tooLong, tick)
	for i := range 3 {
		called := async(func() (ei.Term, error) { return ca.RPC(soon(t), "m", "f", i) })
		require.Equal(t, ei.Int(i), arrives(t, called, "the reply").must(t))
	}
	require.Empty(t, received)
	require.NoError(t, cb.SendName(soon(t), "x", "behind"))
	require.Equal(t, dist.OpRegSend, arrives(t, received, "the message behind").must(t).Op)
}

func TestConnCallTooManyUnread(t *testing.T) {
	ca, cb := newWorld(t, "memory").pair()
	sent := async(func() (int, error) {
		for i := range maxUnread + 5 {
			if err := cb.SendName(soon(t), "x", i); err != nil {
				return i, err
			}
		}
		return 0, nil
	})
	called := async(func() (ei.Term, error) { return ca.RPC(soon(t), "m", "f") })
	require.ErrorIs(t, arrives(t, called, "the call's error").err, ErrTooManyUnread)
	require.NoError(t, ca.Err(), "the connection is unharmed")
	for i := range maxUnread + 5 {
		require.Equal(t, ei.Int(i), term(t, ca))
	}
	require.NoError(t, (<-sent).err)
}

func TestConnCallFailures(t *testing.T) {
	ca, cb := newWorld(t, "tcp").pair()
	answers := map[ei.Term]func(from ei.Pid, tag ei.Raw){
		ei.Atom("badrpc"): func(from ei.Pid, tag ei.Raw) {
			cb.Send(soon(t), from, ei.Tuple{tag, ei.Tuple{ei.Atom("badrpc"), ei.Atom("nodedown")}})
		},
		// a message that is no reply is passed over
		ei.Atom("otherwise"): func(from ei.Pid, tag ei.Raw) {
			cb.Send(soon(t), from, ei.Atom("what"))
			cb.Send(soon(t), from, ei.Tuple{ei.Atom("not_the_tag"), ei.Int(1)})
			cb.Send(soon(t), from, ei.Tuple{tag, ei.Atom("reply"), ei.Int(2)})
			cb.Send(soon(t), from, ei.Tuple{tag, ei.Atom("fine")})
		},
		ei.Atom("silent"): func(ei.Pid, ei.Raw) {},
		ei.Atom("broken"): func(from ei.Pid, tag ei.Raw) {
			raw := append(ei.AppendTupleHeader(nil, 2), tag...)
			cb.SendRaw(soon(t), from, append(raw, 255, 255))
		},
	}
	silent := make(chan struct{}, 10)
	answerCalls(t, cb, func(from ei.Pid, tag ei.Raw, request ei.Tuple) {
		how := request[2]
		answers[how](from, tag)
		if how == ei.Atom("silent") {
			silent <- struct{}{}
		}
	})

	_, err := ca.RPC(soon(t), "m", "badrpc")
	var bad *RPCError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, ei.Atom("nodedown"), bad.Reason)
	require.EqualError(t, err, "call m:badrpc/0 at bob@test: {badrpc,nodedown}")

	v := of(ca.RPC(soon(t), "m", "otherwise")).must(t)
	require.Equal(t, ei.Atom("fine"), v)

	_, err = ca.RPC(soon(t), "m", "broken")
	var syntax *ei.SyntaxError
	require.ErrorAs(t, err, &syntax)

	ctx, cancel := context.WithCancel(soon(t))
	called := async(func() (ei.Term, error) { return ca.RPC(ctx, "m", "silent") })
	arrives(t, silent, "the request")
	cancel()
	require.ErrorIs(t, arrives(t, called, "the cancelled call").err, context.Canceled)
	v, err = ca.RPC(soon(t), "m", "otherwise")
	require.NoError(t, err, "the connection is unharmed")
	require.Equal(t, ei.Atom("fine"), v)

	_, err = ca.RPC(soon(t), "m", "f", make(chan int))
	require.Error(t, err, "an argument that is no term")
	require.NoError(t, ca.Err())

	called = async(func() (ei.Term, error) { return ca.RPC(soon(t), "m", "silent") })
	arrives(t, silent, "the request")
	cb.Close()
	err = arrives(t, called, "the call that lost its connection").err
	require.ErrorIs(t, err, ErrNoConnection)
	require.Zero(t, ca.Node().Stats().Mailboxes)

	<-ca.l.Left()
	_, err = ca.RPC(soon(t), "m", "f")
	require.ErrorIs(t, err, io.EOF, "on a connection that has ended")
	require.Empty(t, ca.Node().Peers(), "the call connects nobody")
}

// A connection that is lost, or closed, while the request waits to go out is ErrNoConnection, too.
func TestCallIsCutOff(t *testing.T) {
	for name, cut := range map[string]func(p *wire, c *Conn){
		"by the peer": func(p *wire, _ *Conn) { p.Close() },
		"here":        func(_ *wire, c *Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) { testCallIsCutOff(t, cut) })
	}
}

func testCallIsCutOff(t *testing.T, cut func(*wire, *Conn)) {
	w := newWorld(t, "tcp")
	b, p := w.met("bob", func(cfg *Config) { cfg.QueueLimit = 1000 })
	require.Eventually(t, func() bool { return b.Conn("wire@test") != nil }, tooLong, tick)
	c := b.Conn("wire@test")
	go func() {
		for c.Send(context.Background(), p.Self, make([]byte, 64<<10)) == nil {
		}
	}()
	before := int64(-1)
	require.Eventually(t, func() bool { // until nothing goes out any more
		queued, sent := link.Within(&c.l).Queue().Buffered()
		still := queued > 1000 && sent == before
		before = sent
		return still
	}, tooLong, 10*tick)
	called := async(func() (ei.Term, error) { return b.Call(w.ctx(), p.Self, 1) })
	require.Eventually(t, func() bool { return c.calls.Load() == 1 }, tooLong, tick)
	cut(p, c)
	require.ErrorIs(t, arrives(t, called, "the call's error").err, ErrNoConnection)
}

// A process that ends while it is called is an ExitError whatever its reason, also if that is very
// deep, refused or malformed.
func TestCallEndsWithUndecodableReason(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	deep := append(bytes.Repeat([]byte{108, 0, 0, 0, 1}, 20000), bytes.Repeat([]byte{106}, 20001)...)
	equalKeys := ei.Raw{116, 0, 0, 0, 2, 106, 106, 106, 106}
	for name, reason := range map[string]ei.Raw{"deep": deep, "equal keys": equalKeys, "malformed": {104, 255}} {
		called := async(func() (ei.Term, error) { return n.Call(soon(t), ei.Pid{Node: "wire@test", ID: 9, Creation: 77}, 1) })
		monitor, _ := p.Next()
		require.Equal(t, dist.OpMonitorP, monitor.Op, name)
		p.Next() // the request
		down := &dist.Control{Op: dist.OpPayloadMonitorPExit, From: monitor.To, To: monitor.From, Ref: monitor.Ref}
		require.NoError(t, p.Write(of(protocol.AppendFrame(nil, down, reason)).must(t)))
		var exit *ExitError
		require.ErrorAs(t, arrives(t, called, "the end of the call").err, &exit, name)
		require.Equal(t, monitor.To, exit.Pid, name)
		if name == "deep" {
			require.True(t, ei.Identical(reason, exit.Reason))
			continue
		}
		require.Equal(t, ei.Atom("undecodable_reason"), exit.Reason, name)
	}
}

// A waiting is the context of a Receive for which something happens just as it begins to wait.
type waiting struct {
	context.Context
	happens func()
}

func (c waiting) Value(key any) any {
	if key == (runKey{}) {
		c.happens()
	}
	return c.Context.Value(key)
}

// A call has the answer that came just before its process's end, whether it waits by then or not.
func TestAnswerBeforeEnd(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	for name, waits := range map[string]bool{"waits": true, "does not wait yet": false} {
		b := of(n.newPrivate(nil, ei.Ref{})).must(t)
		answer := &Message{Control: dist.Control{Op: dist.OpSend}}
		comes := func() {
			require.True(t, b.deliver(answer, nil))
			b.Exit(ei.Atom("normal"))
		}
		ctx := soon(t)
		if waits {
			ctx = waiting{ctx, comes}
		} else {
			comes()
		}
		m, err := b.Receive(ctx)
		require.NoError(t, err, name)
		require.Same(t, answer, m, name)
		_, err = b.Receive(soon(t))
		require.ErrorIs(t, err, ErrClosed)
	}
}
