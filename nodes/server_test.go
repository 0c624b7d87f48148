package nodes

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/transport"
)

// A recorder is a Server that does what its requests say.
type recorder struct {
	casts chan ei.Term
	infos chan ei.Term
	later chan *Call
}

func newRecorder() *recorder {
	return &recorder{casts: make(chan ei.Term, 1000), infos: make(chan ei.Term, 1000), later: make(chan *Call, 10)}
}

func (r *recorder) server() Server {
	return Server{
		Call: func(ctx context.Context, c *Call) (any, error) {
			switch c.Request {
			case ei.Atom("error"):
				return nil, errors.New("it went wrong")
			case ei.Atom("raise"):
				return nil, &Raise{Reason: ei.Tuple{ei.Atom("bad"), ei.Int(1)}}
			case ei.Atom("later"):
				r.later <- c
				return NoReply, nil
			case ei.Atom("now"):
				return NoReply, c.Reply(ctx, "now")
			case ei.Atom("twice"):
				_ = c.Reply(ctx, "once")
				return "twice", nil
			case ei.Atom("panic"):
				panic("a bug")
			case ei.Atom("goexit"):
				runtime.Goexit()
			case ei.Atom("nothing"):
				return nil, nil
			case ei.Atom("unencodable"):
				return make(chan int), nil
			case ei.Atom("conn"):
				return ConnOf(ctx) != nil, nil
			}
			return ei.Tuple{ei.Atom("ok"), c.Request}, nil
		},
		Cast: func(_ context.Context, request ei.Term) { r.casts <- request },
		Info: func(_ context.Context, self *Mailbox, m *Message) {
			if v, err := m.Term(); err == nil {
				r.infos <- v
			}
		},
	}
}

func TestServer(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		r := newRecorder()
		self := serve(t, there, "srv", r.server())
		require.Same(t, self, there.Whereis("srv"))
		_, err := there.Serve("srv", r.server(), nil)
		require.ErrorIs(t, err, ErrNameTaken)
		call := func(request any) (ei.Term, error) {
			byName, err := here.CallName(w.ctx(), there.Name(), "srv", request)
			byPid, err2 := here.Call(w.ctx(), self.Pid(), request)
			require.Equal(t, byName, byPid)
			require.Equal(t, err == nil, err2 == nil)
			return byName, err
		}
		for _, tt := range []struct {
			request any
			want    ei.Term
		}{
			{1, ei.Tuple{ei.Atom("ok"), ei.Int(1)}},
			{"text", ei.Tuple{ei.Atom("ok"), ei.Binary("text")}},
			{ei.Atom("error"), ei.Tuple{ei.Atom("error"), ei.Binary("it went wrong")}},
			{ei.Atom("raise"), ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("bad"), ei.Int(1)}}},
			{ei.Atom("now"), ei.Binary("now")},
			{ei.Atom("twice"), ei.Binary("once")},
			{ei.Atom("conn"), ei.Atom(map[bool]string{true: "true", false: "false"}[here != there])},
		} {
			require.Equal(t, tt.want, of(call(tt.request)).must(t), tt.request)
		}
		// a waiting caller gets an error
		for _, request := range []ei.Atom{"nothing", "unencodable"} {
			got := of(call(request)).must(t)
			require.IsType(t, ei.Tuple{}, got)
			require.Equal(t, ei.Atom("error"), got.(ei.Tuple)[0], request)
		}

		require.False(t, self.served.isAsked(), "nothing is left that a process of this node waits for")

		called := async(func() (ei.Term, error) { return here.Call(w.ctx(), self.Pid(), ei.Atom("later")) })
		c := arrives(t, r.later, "the call")
		got, err := here.Call(w.ctx(), self.Pid(), 2)
		require.NoError(t, err, "others go on meanwhile")
		require.Equal(t, ei.Tuple{ei.Atom("ok"), ei.Int(2)}, got)
		if here != there { // within the node it does not wait
			over, end := context.WithCancel(w.ctx())
			end()
			require.ErrorIs(t, c.Reply(over, "not sent"), context.Canceled)
		}
		require.NoError(t, c.Reply(w.ctx(), []any{"late", 3}))
		require.ErrorIs(t, c.Reply(w.ctx(), 4), ErrReplied)
		require.Equal(t, ei.List{ei.Binary("late"), ei.Int(3)}, arrives(t, called, "the late reply").must(t))

		b := box(t, here)
		require.NoError(t, b.CastName(w.ctx(), there.Name(), "srv", "cast"))
		require.Equal(t, ei.Binary("cast"), arrives(t, r.casts, "the cast"))
		require.NoError(t, b.Send(w.ctx(), self.Pid(), "info"))
		require.Equal(t, ei.Binary("info"), arrives(t, r.infos, "the info"))
		for i := range 1000 { // in order
			require.NoError(t, b.Cast(w.ctx(), self.Pid(), i))
		}
		for i := range 1000 {
			require.Equal(t, ei.Int(i), arrives(t, r.casts, "a cast"))
		}

		_, err = here.Call(w.ctx(), self.Pid(), ei.Atom("panic"))
		bug := ei.Tuple{ei.Atom("go_panic"), ei.Binary("a bug")}
		require.Equal(t, bug, exitOf(t, err))
		require.Equal(t, bug, exited(t, self))
		_, err = here.CallName(w.ctx(), there.Name(), "srv", 1)
		require.ErrorIs(t, err, ErrNoProc)
		_, err = here.Call(w.ctx(), self.Pid(), 1)
		require.ErrorIs(t, err, ErrNoProc)
	})
}

// A cast fails where a message would, and like one is dropped where there is no process.
func TestCastErrors(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		b := box(t, here)
		full := box(t, there, &MailboxOptions{Limit: 1})
		require.NoError(t, b.CastName(w.ctx(), there.Name(), "nobody", 1))
		require.NoError(t, b.Cast(w.ctx(), ei.Pid{Node: ei.Atom(there.Name()), ID: 1 << 20, Creation: full.Pid().Creation}, 1))
		require.ErrorIs(t, b.CastName(transport.NoWait(), "nowhere@test", "x", 1), ErrNoConnection)
		unmade := &ei.EncodeError{}
		require.ErrorAs(t, b.Cast(w.ctx(), full.Pid(), make(chan int)), &unmade)
		if here == there { // a peer's connection has room where the mailbox has none
			require.NoError(t, b.Cast(w.ctx(), full.Pid(), 1))
			require.ErrorIs(t, b.Cast(transport.NoWait(), full.Pid(), 2), os.ErrDeadlineExceeded)
		}
		require.NoError(t, b.Close())
		end := new(ExitError)
		require.ErrorAs(t, b.Cast(w.ctx(), full.Pid(), 1), &end)
		require.ErrorAs(t, b.CastName(w.ctx(), there.Name(), "srv", 1), &end)
		require.Equal(t, b.Pid(), end.Pid)
	})
}

// Messages from Erlang that do not have the form of a request do no harm.
func TestServerOddMessages(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	r := newRecorder()
	serve(t, n, "srv", r.server())
	var plain atomic.Int64
	serve(t, n, "plain", Server{Info: func(context.Context, *Mailbox, *Message) { plain.Add(1) }})
	serve(t, n, "deaf", Server{})
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	call := func(parts ...ei.Term) ei.Tuple { return append(ei.Tuple{ei.Atom("$gen_call")}, parts...) }
	odd := []ei.Term{
		call(), call(p.Self, ei.Int(1)), call(ei.Tuple{p.Self}, ei.Int(1)), call(ei.Tuple{ei.Atom("me"), ref}, ei.Int(1)),
		ei.Tuple{ei.Atom("$gen_cast")}, ei.Tuple{ei.Atom("$gen_cast"), ei.Int(1), ei.Int(2)},
		ei.Tuple{}, ei.List{}, ei.Int(1), ei.Map{}, ei.Binary(nil), ei.Float(1),
	}
	for _, name := range []string{"srv", "plain", "deaf", "net_kernel", "rex"} {
		for _, v := range odd {
			p.Say(name, v)
		}
	}
	for _, v := range odd {
		require.Equal(t, v.String(), arrives(t, r.infos, "an odd message").String())
	}
	// A request that cannot be decoded is answered.
	for _, name := range []string{"srv", "net_kernel", "rex"} {
		p.Say(name, call(ei.Tuple{p.Self, ref}, ei.Raw{byte(ei.TagMapExt), 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 1})) // a key twice
		ctl, reply := p.Next()
		require.Equal(t, p.Self, ctl.To)
		require.Equal(t, ei.Tuple{ref, ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}}, reply)
	}
	// A reply goes to an alias where the caller asks for that.
	alias := ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}
	multi := ei.ImproperList{Elems: []ei.Term{alias}, Tail: ref} // gen_server:multi_call's
	deeper := ei.ImproperList{Elems: []ei.Term{multi}, Tail: ref}
	for _, tag := range []ei.Term{alias, multi, deeper, ref, ei.Atom("any"), ei.List{ei.Atom("alias"), ref}} {
		p.Say("srv", call(ei.Tuple{p.Self, tag}, ei.Int(1)))
		ctl, reply := p.Next()
		require.Equal(t, ei.Tuple{tag, ei.Tuple{ei.Atom("ok"), ei.Int(1)}}.String(), reply.String())
		if tag.String() == alias.String() || tag.String() == multi.String() {
			require.Equal(t, dist.OpAltactSigSend, ctl.Op)
			require.Equal(t, uint64(dist.AltactAlias), ctl.Flags)
			require.Equal(t, ref, ctl.Ref)
		} else {
			require.Equal(t, dist.OpSendSender, ctl.Op)
			require.Equal(t, p.Self, ctl.To)
		}
	}
	require.NoError(t, n.Conn("wire@test").Err())
}

func TestCallFailures(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		for _, node := range []string{"alice@test", "bob@test"} {
			_, err := a.CallName(w.ctx(), node, "nobody", 1)
			require.ErrorIs(t, err, ErrNoProc)
			require.NotErrorIs(t, err, ErrNoConnection)
			_, err = a.Call(w.ctx(), ei.Pid{Node: ei.Atom(node), ID: 4711, Creation: 4}, 1)
			require.ErrorIs(t, err, ErrNoProc)
		}
		_, err := a.CallName(w.ctx(), "nobody@test", "x", 1)
		require.ErrorIs(t, err, ErrNoConnection)
		require.ErrorIs(t, err, ErrUnknownNode)

		// The process dies meanwhile; the connection is lost; the caller gives up.
		for _, node := range []*Node{a, b} {
			silent := box(t, node)
			called := async(func() (ei.Term, error) { return a.Call(w.ctx(), silent.Pid(), 1) })
			receive(t, silent)
			silent.Exit(ei.Tuple{ei.Atom("too"), ei.Atom("bad")})
			err = arrives(t, called, "the call's error").err
			var e *ExitError
			require.ErrorAs(t, err, &e)
			require.Equal(t, ei.Tuple{ei.Atom("too"), ei.Atom("bad")}, e.Reason)
			require.Equal(t, silent.Pid(), e.Pid)
		}
		silent := box(t, b)
		ctx, cancel := context.WithCancel(w.ctx())
		called := async(func() (ei.Term, error) { return a.Call(ctx, silent.Pid(), 1) })
		m := receive(t, silent)
		cancel()
		require.ErrorIs(t, arrives(t, called, "the cancelled call").err, context.Canceled)
		require.Eventually(t, func() bool { return len(watchersOf(silent)) == 0 }, tooLong, tick, "its monitor is gone")
		// A reply that comes too late does no harm.
		q := otp.ReadRequest(m.Payload)
		require.Equal(t, otp.Call, q.Kind)
		require.NoError(t, silent.Send(w.ctx(), q.From.Pid, ei.Tuple{q.Tag, ei.Int(1)}))

		called = async(func() (ei.Term, error) { return a.Call(w.ctx(), silent.Pid(), 1) })
		receive(t, silent)
		require.NoError(t, b.Close())
		err = arrives(t, called, "the call's error").err
		if e := (*ExitError)(nil); errors.As(err, &e) && e.Reason == ei.Atom("shutdown") {
			err = ErrNoConnection // the process has said so just before its node went
		}
		require.ErrorIs(t, err, ErrNoConnection)
		require.Equal(t, 2, a.Stats().Mailboxes, "net_kernel, rex")

		called = async(func() (ei.Term, error) { return a.Call(w.ctx(), box(t, a).Pid(), 1) })
		require.Eventually(t, func() bool { return a.Stats().Mailboxes == 4 }, tooLong, tick)
		require.NoError(t, a.Close())
		require.Error(t, arrives(t, called, "the call of a closed node").err)
		_, err = a.CallName(w.ctx(), "alice@test", "x", 1)
		require.ErrorIs(t, err, ErrClosed)
	})
}

// When a Server's process ends, the Server handles no more messages from its mailbox, and the
// context of the running function ends.
func TestServerEnds(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		began, ran := make(chan struct{}, 1), make(chan ei.Term, 10)
		self := serve(t, there, "srv", Server{Cast: func(ctx context.Context, request ei.Term) {
			ran <- request
			began <- struct{}{}
			<-ctx.Done()
		}})
		b := box(t, here)
		ref := monitor(t, b, self.Pid())
		for i := range 5 {
			require.NoError(t, b.Cast(w.ctx(), self.Pid(), i))
		}
		arrives(t, began, "the first cast")
		require.NoError(t, b.SendExit(w.ctx(), self.Pid(), ei.Atom("kill")))
		gone(t, b, ref, ei.Atom("killed"))
		require.Eventually(t, func() bool { self.mu.Lock(); defer self.mu.Unlock(); return !self.served.is }, tooLong, tick)
		require.Equal(t, ei.Int(0), <-ran)
		require.Empty(t, ran)
	})
}

// If a peer's request names a process of this node, or the Server itself, as its sender, the answer
// does not wait for room in that mailbox.
func TestServerIsAskedForItself(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	answer := ei.Binary(bytes.Repeat([]byte("x"), 4<<10))
	srv, err := b.Serve("srv", Server{Call: func(context.Context, *Call) (any, error) { return answer, nil }},
		&MailboxOptions{Limit: 16 << 10})
	require.NoError(t, err)
	full := box(t, b, &MailboxOptions{Limit: 1})
	peer := box(t, a)
	for _, name := range []string{"srv", "net_kernel"} {
		for i := range 100 {
			for _, from := range []ei.Pid{srv.Pid(), full.Pid()} {
				call := ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{from, ei.Int(i)}, ei.Tuple{ei.Atom("is_auth"), ei.Atom("x")}}
				require.NoError(t, peer.SendName(w.ctx(), b.Name(), name, call))
			}
		}
	}
	require.Equal(t, answer, of(peer.CallName(w.ctx(), b.Name(), "srv", ei.Atom("x"))).must(t))
}

// If a registered process is ended by another, the log says so, since nothing restarts it.
func TestEndOfServerIsLogged(t *testing.T) {
	w := newWorld(t, "tcp")
	var r record
	a, b := w.started("alice"), w.started("bob", logsTo(&r))
	linked := box(t, a)
	stopped := serve(t, b, "stopped", Server{})
	stopped.Exit(ei.Atom("shutdown"))
	srv := serve(t, b, "linked", Server{})
	require.NoError(t, linked.Link(w.ctx(), srv.Pid()))
	linked.Exit(ei.Atom("crash"))
	require.Eventually(t, func() bool {
		return len(r.Lines("registered process ended", "name=linked", "reason=crash")) == 1
	}, tooLong, tick)
	require.Empty(t, r.Lines("name=stopped"))

	told := serve(t, b, "told", Server{})
	told.Exit(ei.Tuple{ei.Atom("shutdown"), ei.Atom("enough")})
	verbose := serve(t, b, "verbose", Server{})
	verbose.Exit(ei.Binary(bytes.Repeat([]byte("å"), 1<<20)))
	lines := r.Lines("registered process ended", "name=verbose")
	require.Len(t, lines, 1)
	require.Less(t, len(lines[0]), 2000)
	require.Empty(t, r.Lines("name=told"))
}

// A Server's function that sends to its own process does not wait for room, which only the function
// itself could make.
func TestServerSendsToItself(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	sent, got := make(chan error, 20), make(chan ei.Term, 20)
	s := Server{
		Cast: func(ctx context.Context, _ ei.Term) {
			self := MailboxOf(ctx)
			for i := range 5 {
				sent <- self.Send(ctx, self.Pid(), ei.Int(i))
				sent <- self.SendName(ctx, "alice@test", "s", ei.Int(i))
			}
		},
		Info: func(_ context.Context, _ *Mailbox, m *Message) {
			v, _ := m.Term()
			got <- v
		},
	}
	b := serve(t, n, "s", s, &MailboxOptions{Limit: 1})
	require.NoError(t, box(t, n).Cast(soon(t), b.Pid(), ei.Atom("go")))
	for range 10 {
		require.NoError(t, arrives(t, sent, "the end of a send"))
	}
	for i := range 5 {
		require.Equal(t, ei.Int(i), arrives(t, got, "a message"))
		require.Equal(t, ei.Int(i), arrives(t, got, "a message"))
	}

	// One that is to end when it is full does.
	b = serve(t, n, "ends", s, &MailboxOptions{Limit: 1, Full: FullExit})
	require.NoError(t, box(t, n).Cast(soon(t), b.Pid(), ei.Atom("go")))
	require.Equal(t, mailboxFull, exited(t, b))
}
