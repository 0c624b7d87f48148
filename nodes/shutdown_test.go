package nodes

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/transport"
)

// A request that is turned away ends the monitor of the process that it names as its caller; not if
// that one is of another node than the peer, which then meddles with the call of a third node.
func TestOnlyCallerIsTurnedAway(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	caller, other := w.peer(n.Listeners()[0], role("caller@test")), w.peer(n.Listeners()[0], role("other@test"))
	b, ref := box(t, n), monitorRef(caller, 1)
	require.Eventually(t, func() bool { return len(n.Peers()) == 2 }, tooLong, tick)
	require.True(t, b.watched(ref, bonds.Watcher{Pid: caller.Self}))
	payload := of(ei.Append(nil, ei.T("$gen_call", ei.Tuple{caller.Self, ref}, 1))).must(t)
	b.refuse(&Message{Control: dist.Control{Op: dist.OpSend}, Payload: payload, conn: n.Conn(string(other.Self.Node))})
	require.NotEmpty(t, watchersOf(b))
	b.refuse(&Message{Control: dist.Control{Op: dist.OpSend}, Payload: payload, conn: n.Conn("caller@test")})
	require.Empty(t, watchersOf(b))
	ctl, why := caller.Next()
	require.Equal(t, ref, ctl.Ref)
	require.Equal(t, ei.Atom("shutdown"), why)
}

// Shutdown lets running functions finish, sends what is queued, and turns away new requests.
func TestShutdownDrains(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b, c := w.started("alice"), w.started("bob"), w.started("carol")
		there, far := box(t, a), box(t, c)
		serve(t, c, "srv", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
		running, release := make(chan struct{}, 2), make(chan struct{})
		work := func(ctx context.Context, n *Node, request ei.Term) (any, error) {
			running <- struct{}{}
			<-release
			// To a node that is connected, and to one that is not yet; and a call.
			self, err := n.NewMailbox(nil)
			if err != nil {
				return nil, err
			}
			v, err := n.CallName(ctx, "carol@test", "srv", request)
			return v, errors.Join(err, self.Send(ctx, there.Pid(), "last"), self.Send(ctx, far.Pid(), "last"))
		}
		b.Expose("m", "work", func(ctx context.Context, args []ei.Term) (any, error) { return work(ctx, b, args[0]) })
		serve(t, b, "srv", Server{Call: func(ctx context.Context, c *Call) (any, error) { return work(ctx, b, c.Request) }})
		one := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "work", 1) })
		two := async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "srv", 2) })
		arrives(t, running, "the function")
		arrives(t, running, "the handler")

		down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
		require.Eventually(t, func() bool { return len(b.Listeners()) == 0 }, tooLong, tick)
		require.Eventually(t, b.life.Refuses, tooLong, tick)
		_, err := w.node("dave").Connect(w.ctx(), "bob@test")
		require.Error(t, err, "nobody new")
		_, err = a.RPC(w.ctx(), "bob@test", "m", "work", 3)
		require.Error(t, err, "nothing new")
		require.NoError(t, b.Err())
		close(release)
		for i, r := range []<-chan result[ei.Term]{one, two} {
			require.Equal(t, ei.Int(i+1), arrives(t, r, "the result").must(t))
			require.Equal(t, ei.Binary("last"), term(t, there))
			require.Equal(t, ei.Binary("last"), term(t, far))
		}
		require.NoError(t, arrives(t, down, "Shutdown").err)
		require.ErrorIs(t, b.Err(), ErrClosed)
	})
}

// A function that runs while the node is shut down may call servers, handlers and functions of its
// own node, and rely on a server to handle its cast before its next call; other nodes' requests to
// these are refused.
func TestShutdownServesWhatRuns(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	heard := []ei.Term{}
	srv := serve(t, b, "srv", Server{
		Cast: func(_ context.Context, r ei.Term) { heard = append(heard, r) },
		Call: func(_ context.Context, c *Call) (any, error) { return append(heard, c.Request), nil },
	})
	handle(t, b, "h", func(self *Mailbox, m *Message) {
		if c, ok := self.CallOf(m); ok {
			_ = c.Reply(context.Background(), c.Request)
		}
	})
	b.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
	running, proceed := make(chan struct{}), make(chan struct{})
	b.Expose("m", "work", func(ctx context.Context, _ []ei.Term) (any, error) {
		close(running)
		<-proceed
		self, err := b.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		first, err := b.CallName(ctx, "bob@test", "srv", ei.Atom("first"))
		cast := self.Cast(ctx, srv.Pid(), ei.Atom("cast"))
		// the server takes the cast by itself, before the call
		for taken := false; !taken; time.Sleep(tick) {
			srv.mu.Lock()
			taken = !srv.inbox.HasUnread()
			srv.mu.Unlock()
		}
		read, err2 := b.Call(ctx, srv.Pid(), ei.Atom("read"))
		handler, err3 := b.CallName(ctx, "bob@test", "h", ei.Atom("handler"))
		echo, err4 := b.RPC(ctx, "bob@test", "m", "echo", ei.Atom("echo"))
		return ei.List{first, read, handler, echo}, errors.Join(err, cast, err2, err3, err4)
	})
	worked := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "work") })
	arrives(t, running, "the function")
	down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
	awaitDrain(t, b)
	for _, name := range []string{"srv", "h"} {
		_, err := a.CallName(w.ctx(), "bob@test", name, 1)
		require.Error(t, err, name)
	}
	close(proceed)
	require.Equal(t, "[[first],[cast,read],handler,echo]", arrives(t, worked, "the result").must(t).String())
	require.NoError(t, arrives(t, down, "Shutdown").err)
}

// The end of a connection that the node itself has ended is no fault of the peer's.
func TestShutdownLog(t *testing.T) {
	w := newWorld(t, "tcp")
	var here, there record
	a, b := w.started("alice", logsTo(&here)), w.started("bob", logsTo(&there))
	connect(t, a, b.Name())
	require.NoError(t, a.Shutdown(w.ctx()))
	require.Len(t, here.Lines("node down", "reason=closed"), 1)
	require.Empty(t, here.Lines("level=WARN"))
	require.Empty(t, here.Lines("level=ERROR"))
	require.Eventually(t, func() bool { return len(there.Lines("node down", "reason=EOF")) == 1 }, tooLong, tick)
}

// A Server that ends while the node shuts down leaves no caller of what it has received waiting.
func TestShutdownBesideEndOfBusyServer(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	running, release := make(chan struct{}), make(chan struct{})
	srv := serve(t, b, "srv", Server{Call: func(context.Context, *Call) (any, error) {
		close(running)
		<-release
		return 1, nil
	}})
	var calls []<-chan result[ei.Term]
	for range 5 {
		calls = append(calls, async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "srv", 1) }))
	}
	arrives(t, running, "the first request")
	require.Eventually(t, func() bool { return unreadOf(srv) == 4 }, tooLong, tick)
	down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
	awaitDrain(t, b)
	srv.Exit(ei.Atom("done"))
	close(release)
	for _, call := range calls {
		require.Error(t, arrives(t, call, "the end of a call").err)
	}
	require.NoError(t, arrives(t, down, "Shutdown").err)
}

// The error of a Shutdown, and of a Freeze, that waits in vain names what runs, whatever that is,
// and is the context's.
func TestWhatRunsIsNamed(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	running, release := make(chan struct{}, 10), make(chan struct{})
	hang := func() { running <- struct{}{}; <-release }
	defer close(release)
	serve(t, b, "srv", Server{Call: func(context.Context, *Call) (any, error) { hang(); return 1, nil }})
	nameless := serve(t, b, "", Server{Cast: func(context.Context, ei.Term) { hang() }})
	handle(t, b, "handler", func(*Mailbox, *Message) { hang() })
	b.Expose("m", "hang", func(context.Context, []ei.Term) (any, error) { hang(); return 1, nil })
	self := box(t, a)
	require.NoError(t, self.Cast(w.ctx(), nameless.Pid(), 1))
	async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "srv", 1) })
	async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "hang") })
	async(func() (ei.Term, error) { return b.RPC(w.ctx(), "bob@test", "m", "hang") })
	for range 4 {
		arrives(t, running, "a function")
	}
	require.NoError(t, self.SendName(w.ctx(), "bob@test", "handler", 1))
	arrives(t, running, "the handler")
	for _, end := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := b.Freeze(ctx); return err },
		b.Shutdown,
	} {
		ctx, cancel := context.WithCancel(w.ctx())
		ended := async(func() (int, error) { return 0, end(ctx) })
		require.Eventually(t, b.life.Work.Awaited, tooLong, tick)
		cancel()
		err := arrives(t, ended, "its end").err
		require.ErrorIs(t, err, context.Canceled)
		for _, name := range []string{"srv", "handler", nameless.Pid().String(), "2 of m:hang"} {
			require.ErrorContains(t, err, name)
		}
	}
}

// Without time to wait Shutdown ends the node, or the connection, at once, and says that there was
// none.
func TestShutdownNoWait(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, "memory")
	_, l := w.listening("alice")
	p, c := w.joined(l, role("wire@test"))
	defer p.Close()
	require.NoError(t, arrives(t, async(func() (int, error) { return 0, c.Shutdown(transport.NoWait()) }), "Shutdown of the connection").err)
	require.ErrorIs(t, c.Err(), ErrClosed)

	b := w.started("bob")
	running, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	b.Expose("m", "hang", func(context.Context, []ei.Term) (any, error) { close(running); <-release; return 1, nil })
	async(func() (ei.Term, error) { return w.started("carol").RPC(w.ctx(), "bob@test", "m", "hang") })
	arrives(t, running, "the function")
	err := arrives(t, async(func() (int, error) { return 0, b.Shutdown(transport.NoWait()) }), "Shutdown of the node").err
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorContains(t, err, "1 of m:hang")
}

// On the lower level, if no Receive is in progress, Shutdown flushes and does not wait for the
// peer.
func TestShutdownOfLowerLevel(t *testing.T) {
	t.Parallel() // it waits
	ca, cb := newWorld(t, "tcp").pair()
	for i := range 100 {
		require.NoError(t, ca.SendName(soon(t), "x", i))
	}
	require.NoError(t, ca.Node().Shutdown(soon(t)))
	for range 100 {
		receive(t, cb)
	}
	_, err := cb.Receive(soon(t))
	require.ErrorIs(t, err, io.EOF)
}

// Shutdown does not wait for functions whose callers have gone, if the functions heed their
// contexts; its error names those that it has waited for.
func TestShutdownWhileFunctionsRun(t *testing.T) {
	for _, goes := range []string{"before", "during", "stays"} {
		t.Run(goes, func(t *testing.T) {
			w := newWorld(t, "memory")
			n, p := w.met("alice")
			running := exposeHang(n)
			p.request(1, "m", "hang", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}})
			p.request(2, "erpc", "execute_cast", ei.List{}, ei.Atom("m"), ei.Atom("hang"), ei.List{})
			arrives(t, running, "a call")
			arrives(t, running, "a cast")
			c := w.conn(n, "wire@test")
			ctx := w.ctx()
			switch goes {
			case "before":
				p.Close()
				arrives(t, c.Done(), "the end of the connection")
			case "during":
				go func() { <-n.Stopping(); p.Close() }()
			default:
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			err := arrives(t, async(func() (int, error) { return 0, n.Shutdown(ctx) }), "Shutdown").err
			if goes != "stays" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "still running: 2 of m:hang")
		})
	}
}
