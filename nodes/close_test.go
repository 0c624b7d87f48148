package nodes

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

func TestCloseEndsEverything(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			a, b := w.started("alice"), w.started("bob")
			b.Expose("m", "wait", func(ctx context.Context, _ []ei.Term) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
			handling := make(chan struct{})
			_, err := b.Serve("srv", Server{Call: func(ctx context.Context, _ *Call) (any, error) {
				close(handling)
				<-ctx.Done()
				return nil, ctx.Err()
			}}, nil)
			require.NoError(t, err)
			extra, err := b.ListenOn(w.ctx(), w.tr, w.addr("extra"))
			require.NoError(t, err)
			receiver, silent := box(t, b), box(t, a)
			waiting := []<-chan result[any]{
				async(func() (any, error) { return extra.Accept(w.ctx()) }),
				async(func() (any, error) { return receiver.Receive(w.ctx()) }),
				async(func() (any, error) { return b.Call(w.ctx(), silent.Pid(), 1) }),
				async(func() (any, error) { return a.RPC(w.ctx(), "bob@test", "m", "wait") }),
				async(func() (any, error) { return a.CallName(w.ctx(), "bob@test", "srv", 1) }),
			}
			arrives(t, handling, "the call")
			half := w.wire(b.Listeners()[0])
			require.Eventually(t, func() bool { return a.Conn("bob@test") != nil && b.Conn("alice@test") != nil }, tooLong, tick)
			ca, cb := a.Conn("bob@test"), b.Conn("alice@test")

			var wg sync.WaitGroup
			for range 4 { // at the same time
				wg.Go(func() {
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			inTime(t, "Close", wg.Wait)
			for i, r := range waiting {
				require.Error(t, arrives(t, r, "the end of a call").err, i)
			}
			half.gone()
			require.ErrorIs(t, cb.Err(), ErrClosed)
			require.Error(t, ended(t, ca))
			require.ErrorIs(t, b.Err(), ErrClosed)
			arrives(t, b.Done(), "Done")
			require.Empty(t, b.Peers())
			require.Empty(t, b.Listeners())
			require.Zero(t, b.Stats().Mailboxes)
			require.Zero(t, tableSize(b))
			require.NoError(t, b.Close())
			_, err = b.Serve("x", Server{}, nil)
			require.ErrorIs(t, err, ErrClosed)
			_, err = b.RPC(w.ctx(), "alice@test", "m", "f")
			require.ErrorIs(t, err, ErrClosed)
		})
	}
}

// Whatever begins while Close runs ends with it, and nothing is left.
func TestCloseBesideEverything(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	there := box(t, a)
	for i := range 100 {
		b := w.started("bob")
		here := box(t, b)
		var wg sync.WaitGroup
		ctx := w.ctx()
		for _, f := range []func() error{
			func() error { _, err := b.Connect(ctx, "alice@test"); return err },
			func() error { _, err := a.Connect(ctx, "bob@test"); return err },
			func() error { _, err := b.Serve("", Server{}, nil); return err },
			func() error { return here.Send(ctx, there.Pid(), i) },
			func() error { return there.Link(ctx, here.Pid()) },
			func() error { _, err := here.Monitor(ctx, there.Pid()); return err },
			func() error { return there.MonitorNode(ctx, "bob@test") },
			func() error { _, err := b.RPC(ctx, "alice@test", "m", "f"); return err },
			func() error { _, err := a.RPC(ctx, "bob@test", "m", "f"); return err },
			func() error {
				l, err := b.ListenOn(ctx, w.tr, w.addr(""))
				if err == nil {
					_, err = l.Accept(ctx)
				}
				return err
			},
			func() error { return b.Shutdown(ctx) },
			b.Close,
		} {
			wg.Go(func() {
				if err := f(); errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		inTime(t, "something beside Close", wg.Wait)
		require.NoError(t, b.Close())
		require.Empty(t, b.Peers())
		require.Zero(t, b.Stats().Mailboxes)
		if there.Err() != nil { // through the link
			there = box(t, a)
		}
	}
}

// Shutdown lets running functions finish, sends what is queued, and turns away new requests.
func TestShutdownDrains(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			a, b, c := w.started("alice"), w.started("bob"), w.started("carol")
			there, far := box(t, a), box(t, c)
			_, err := c.Serve("srv", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }}, nil)
			require.NoError(t, err)
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
			_, err = b.Serve("srv", Server{Call: func(ctx context.Context, c *Call) (any, error) { return work(ctx, b, c.Request) }}, nil)
			require.NoError(t, err)
			one := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "work", 1) })
			two := async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "srv", 2) })
			arrives(t, running, "the function")
			arrives(t, running, "the handler")

			down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
			require.Eventually(t, func() bool { return len(b.Listeners()) == 0 }, tooLong, tick)
			require.Eventually(t, func() bool {
				b.procs.mu.Lock()
				defer b.procs.mu.Unlock()
				return b.procs.drains
			}, tooLong, tick)
			_, err = w.node("dave").Connect(w.ctx(), "bob@test")
			require.Error(t, err, "nobody new")
			_, err = a.RPC(w.ctx(), "bob@test", "m", "work", 3)
			require.Error(t, err, "nothing new")
			require.NoError(t, b.Err())
			close(release)
			for i, r := range []<-chan result[ei.Term]{one, two} {
				r := arrives(t, r, "the result")
				require.NoError(t, r.err)
				require.Equal(t, ei.Int(i+1), r.v)
				require.Equal(t, ei.Binary("last"), term(t, there))
				require.Equal(t, ei.Binary("last"), term(t, far))
			}
			require.NoError(t, arrives(t, down, "Shutdown").err)
			require.ErrorIs(t, b.Err(), ErrClosed)
		})
	}
}

// A function that runs while the node is shut down may call servers, handlers and functions of its own node; requests of other nodes to
// these are refused.
func TestShutdownServesWhatRuns(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	echo := Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }}
	_, err := b.Serve("srv", echo, nil)
	require.NoError(t, err)
	_, err = b.Handle("h", func(self *Mailbox, m *Message) {
		if c, ok := self.CallOf(m); ok {
			_ = c.Reply(context.Background(), c.Request)
		}
	}, nil)
	require.NoError(t, err)
	b.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
	running, proceed := make(chan struct{}), make(chan struct{})
	b.Expose("m", "work", func(ctx context.Context, _ []ei.Term) (any, error) {
		close(running)
		<-proceed
		sum := ei.List{}
		for i, name := range []string{"srv", "h", "srv"} {
			v, err := b.CallName(ctx, "bob@test", name, i)
			if err != nil {
				return nil, err
			}
			sum = append(sum, v)
		}
		v, err := b.RPC(ctx, "bob@test", "m", "echo", 3)
		return append(sum, v), err
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
	r := arrives(t, worked, "the result")
	require.NoError(t, r.err)
	answers, _ := ei.Elements(r.v) // small integers come as a string
	require.Equal(t, ei.List{ei.Int(0), ei.Int(1), ei.Int(2), ei.Int(3)}, answers)
	require.NoError(t, arrives(t, down, "Shutdown").err)
}

// awaitDrain waits until nothing new begins in a node that is shut down.
func awaitDrain(t *testing.T, n *Node) {
	t.Helper()
	require.Eventually(t, func() bool {
		n.procs.mu.Lock()
		defer n.procs.mu.Unlock()
		return n.procs.drains
	}, tooLong, tick)
}

// A function that runs while a node is shut down may rely on the server to handle its cast before its next call.
func TestShutdownServesCasts(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	var heard ei.Term
	srv, err := b.Serve("srv", Server{
		Cast: func(_ context.Context, r ei.Term) { heard = r },
		Call: func(context.Context, *Call) (any, error) { return heard, nil },
	}, nil)
	require.NoError(t, err)
	running, proceed := make(chan struct{}), make(chan struct{})
	b.Expose("m", "work", func(ctx context.Context, _ []ei.Term) (any, error) {
		close(running)
		<-proceed
		self, err := b.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		if err := self.Send(ctx, srv.Pid(), ei.Tuple{ei.Atom("$gen_cast"), ei.Atom("written")}); err != nil {
			return nil, err
		}
		for taken := false; !taken; time.Sleep(tick) { // the server takes the cast by itself, before the call
			srv.mu.Lock()
			taken = srv.first == len(srv.queue)
			srv.mu.Unlock()
		}
		return b.Call(ctx, srv.Pid(), ei.Atom("read"))
	})
	worked := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "work") })
	arrives(t, running, "the function")
	down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
	awaitDrain(t, b)
	close(proceed)
	r := arrives(t, worked, "the result")
	require.NoError(t, r.err)
	require.Equal(t, ei.Atom("written"), r.v)
	require.NoError(t, arrives(t, down, "Shutdown").err)
}

// The end of a connection that the node itself has ended is no fault of the peer's.
func TestShutdownLog(t *testing.T) {
	w := newWorld(t, "tcp")
	logs := map[string]*record{"alice": new(record), "bob": new(record)}
	logged := func(name string) *Node {
		return w.started(name, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(logs[name], nil)) })
	}
	a, b := logged("alice"), logged("bob")
	_, err := a.Connect(w.ctx(), b.Name())
	require.NoError(t, err)
	require.NoError(t, a.Shutdown(w.ctx()))
	require.Len(t, logs["alice"].lines("node down", "reason=closed"), 1)
	require.Empty(t, logs["alice"].lines("level=WARN"))
	require.Empty(t, logs["alice"].lines("level=ERROR"))
	require.Eventually(t, func() bool { return len(logs["bob"].lines("node down", "reason=EOF")) == 1 }, tooLong, tick)
}

// A log that is sent to a mailbox of the node tells of a connection that was found broken while that mailbox, locked, was sending a signal.
func TestNodeDownLogInMailbox(t *testing.T) {
	w := newWorld(t, "tcp")
	var to atomic.Pointer[Mailbox]
	told := make(chan struct{}, 1)
	n := w.started("alice", func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) {
			if b := to.Load(); b != nil && bytes.Contains(p, []byte("node down")) {
				_ = b.Send(context.Background(), b.Pid(), p)
				told <- struct{}{}
			}
		}), nil))
	})
	w.started("bob")
	c, err := n.Connect(w.ctx(), "bob@test")
	require.NoError(t, err)
	b := box(t, n)
	to.Store(b)
	inTime(t, "changeNow", func() {
		_ = b.changeNow(w.ctx(), c, func() (*dist.Control, error) { c.fail(io.EOF); return nil, nil })
	})
	arrives(t, told, "the log")
	require.Contains(t, string(term(t, b).(ei.Binary)), "node down")
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// Everything that was sent before Shutdown arrives, although the peer sends all the time.
func TestShutdownFlushes(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			for range 3 {
				a, b := w.started("alice"), w.started("bob")
				there := box(t, a)
				here := box(t, b)
				ctx, cancel := context.WithCancel(w.ctx())
				noise := box(t, a)
				var wg sync.WaitGroup
				wg.Go(func() {
					for noise.Send(ctx, here.Pid(), make([]byte, 1000)) == nil {
						if here.Err() != nil {
							return
						}
					}
				})
				wg.Go(func() {
					for ctx.Err() == nil {
						m, err := here.Receive(ctx)
						if err != nil {
							return
						}
						_ = m
					}
				})
				const count = 1000
				for i := range count {
					require.NoError(t, here.Send(w.ctx(), there.Pid(), append([]byte{byte(i), byte(i >> 8)}, make([]byte, 500)...)))
				}
				down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
				for i := range count {
					v := term(t, there).(ei.Binary)
					require.Equal(t, []byte{byte(i), byte(i >> 8)}, []byte(v[:2]))
				}
				require.NoError(t, arrives(t, down, "Shutdown").err)
				cancel()
				inTime(t, "the noise", wg.Wait)
				require.NoError(t, a.Close())
			}
		})
	}
}

// When its context ends first, Shutdown cuts off the rest and says so.
func TestShutdownCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "memory")
		a, b := w.started("alice"), w.started("bob")
		running := make(chan struct{})
		b.Expose("m", "wait", func(ctx context.Context, _ []ei.Term) (any, error) {
			close(running)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		called := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "wait") })
		<-running
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		require.ErrorIs(t, b.Shutdown(ctx), context.DeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(begin), 5*time.Second)
		require.Less(t, time.Since(begin), 8*time.Second)
		require.Error(t, (<-called).err)
		require.ErrorIs(t, b.Err(), ErrClosed)

		// A peer that does not read cannot be flushed to.
		c := w.started("carol")
		p := w.peer(c.Listeners()[0], role("wire@test"))
		here := box(t, c)
		go func() {
			for here.Send(context.Background(), p.self, make([]byte, 1000)) == nil {
			}
		}()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, c.Shutdown(ctx), context.DeadlineExceeded)
	})
}

// What a Server has received before Shutdown it handles; what comes later is refused.
func TestShutdownHandlesBacklog(t *testing.T) {
	for _, ends := range []string{"handled", "server ends"} {
		t.Run(ends, func(t *testing.T) {
			w := newWorld(t, "memory")
			a, b := w.started("alice"), w.started("bob")
			running, release := make(chan ei.Term, 10), make(chan struct{})
			srv, err := b.Serve("srv", Server{Call: func(_ context.Context, c *Call) (any, error) {
				running <- c.Request
				<-release
				return c.Request, nil
			}}, nil)
			require.NoError(t, err)
			var calls []<-chan result[ei.Term]
			for i := range 5 {
				calls = append(calls, async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "srv", i) }))
				if i == 0 {
					arrives(t, running, "the first request")
				}
			}
			unread := func() int {
				srv.mu.Lock()
				defer srv.mu.Unlock()
				return len(srv.queue) - srv.first
			}
			require.Eventually(t, func() bool { return unread() == 4 }, tooLong, tick)
			down := async(func() (int, error) { return 0, b.Shutdown(w.ctx()) })
			<-b.shutsDown(t).Done()
			late := async(func() (ei.Term, error) { return a.CallName(w.ctx(), "bob@test", "srv", "late") })
			require.Eventually(t, func() bool { return unread() == 5 }, tooLong, tick)
			if ends == "server ends" {
				srv.Exit(ei.Atom("done"))
			}
			close(release)
			for i, call := range calls {
				r := arrives(t, call, "the answer")
				if ends == "server ends" {
					require.Error(t, r.err)
					continue
				}
				require.NoError(t, r.err)
				require.Equal(t, ei.Int(i), r.v)
			}
			require.Error(t, arrives(t, late, "the refusal").err)
			require.NoError(t, arrives(t, down, "Shutdown").err)
		})
	}
}

// The error of a Shutdown, and of a Freeze, that waits in vain names what runs, whatever that is, and is the context's.
func TestWhatRunsIsNamed(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	running, release := make(chan struct{}, 10), make(chan struct{})
	hang := func() { running <- struct{}{}; <-release }
	defer close(release)
	_, err := b.Serve("srv", Server{Call: func(context.Context, *Call) (any, error) { hang(); return 1, nil }}, nil)
	require.NoError(t, err)
	nameless, err := b.Serve("", Server{Cast: func(context.Context, ei.Term) { hang() }}, nil)
	require.NoError(t, err)
	_, err = b.Handle("handler", func(*Mailbox, *Message) { hang() }, nil)
	require.NoError(t, err)
	b.Expose("m", "hang", func(context.Context, []ei.Term) (any, error) { hang(); return 1, nil })
	self := box(t, a)
	require.NoError(t, self.Send(w.ctx(), nameless.Pid(), ei.Tuple{ei.Atom("$gen_cast"), ei.Int(1)}))
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
		ctx, cancel := context.WithTimeout(w.ctx(), 50*time.Millisecond)
		err := end(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, name := range []string{"srv", "handler", nameless.Pid().String(), "2 of m:hang"} {
			require.ErrorContains(t, err, name)
		}
	}
}

// Without time to wait Shutdown ends the node, or the connection, at once, and says that there was none.
func TestShutdownNoWait(t *testing.T) {
	w := newWorld(t, "memory")
	_, l := w.listening("alice")
	p, c := w.joined(l, role("wire@test"))
	defer p.close()
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

// On the lower level, if no Receive is in progress, Shutdown flushes and does not wait for the peer.
func TestShutdownOfLowerLevel(t *testing.T) {
	w := newWorld(t, "tcp")
	ca, cb := w.pair()
	for i := range 100 {
		require.NoError(t, ca.SendName(w.ctx(), "x", i))
	}
	require.NoError(t, ca.Node().Shutdown(w.ctx()))
	for range 100 {
		_, err := cb.Receive(w.ctx())
		require.NoError(t, err)
	}
	_, err := cb.Receive(w.ctx())
	require.ErrorIs(t, err, io.EOF)
}

// Neither Shutdown nor Close waits for a function that does not come back.
func TestCloseBesideHungFunction(t *testing.T) {
	for name, end := range map[string]func(n *Node) error{
		"close": (*Node).Close,
		"shutdown": func(n *Node) error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return n.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "memory")
				a, b := w.started("alice"), w.started("bob")
				running, proceed := make(chan struct{}), make(chan struct{})
				b.Expose("m", "hang", func(context.Context, []ei.Term) (any, error) {
					close(running)
					<-proceed
					return nil, nil
				})
				called := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "hang") })
				<-running
				begin := time.Now()
				err := end(b)
				if name == "close" {
					require.NoError(t, err)
					require.InDelta(t, farewell, time.Since(begin), float64(100*time.Millisecond)) // a write in progress takes a moment to end
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.LessOrEqual(t, time.Since(begin), 5*time.Second+3*farewell)
				}
				require.Error(t, (<-called).err)
				close(proceed)
			})
		})
	}
}

// A node that is being shut down is not frozen any more: the node that would go on elsewhere has no listeners.
func TestFreezeBesideShutdown(t *testing.T) {
	for _, first := range []string{"shutdown", "freeze"} {
		t.Run(first, func(t *testing.T) {
			w := newWorld(t, "tcp")
			a, b := w.started("alice"), w.started("bob")
			running, proceed := make(chan struct{}, 1), make(chan struct{})
			b.Expose("m", "wait", func(context.Context, []ei.Term) (any, error) { running <- struct{}{}; <-proceed; return 1, nil })
			called := async(func() (ei.Term, error) { return a.RPC(w.ctx(), "bob@test", "m", "wait") })
			arrives(t, running, "the call")
			freeze := func() <-chan result[*Frozen] { return async(func() (*Frozen, error) { return b.Freeze(w.ctx()) }) }
			shutdown := func() <-chan result[any] { return async(func() (any, error) { return nil, b.Shutdown(w.ctx()) }) }
			var frozen <-chan result[*Frozen]
			var over <-chan result[any]
			if first == "freeze" {
				frozen = freeze()
				require.Eventually(t, b.moving.Load, tooLong, tick)
				over = shutdown()
			} else {
				over = shutdown()
			}
			require.Eventually(t, func() bool { return b.shutting.Load() > 0 }, tooLong, tick)
			if frozen == nil {
				frozen = freeze()
			}
			require.ErrorIs(t, arrives(t, frozen, "the freeze").err, ErrClosed)
			close(proceed)
			require.NoError(t, arrives(t, called, "the answer").err)
			require.NoError(t, arrives(t, over, "the shutdown").err)
		})
	}
}

// Data that was sent arrives before the connection ends, although data of the peer's is unread, in which case Close would make the system
// discard what was sent; on either level.
func TestConnShutdown(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			for _, started := range []bool{false, true} {
				w := newWorld(t, kind)
				var p *wire
				var c *Conn
				if started {
					n := w.started("bob")
					p = w.peer(n.Listeners()[0], role("wire@test"))
					c = w.conn(n, "wire@test")
				} else {
					_, l := w.listening("bob")
					p, c = w.joined(l, role("wire@test"))
				}
				const count = 200
				p.say("nobody", ei.Binary("unread"))
				p.send(dist.Control{Op: dist.OpUnlink, From: p.self, To: c.Self()}, nil)
				sent := async(func() (int, error) {
					for range count {
						if err := c.SendName(w.ctx(), "x", make([]byte, 10_000)); err != nil {
							return 0, err
						}
					}
					return 0, c.Shutdown(w.ctx())
				})
				for range count {
					ctl, _ := p.next()
					require.Equal(t, dist.OpRegSend, ctl.Op)
				}
				_, err := p.frame(w.ctx())
				require.ErrorIs(t, err, io.EOF)
				p.close()
				require.NoError(t, arrives(t, sent, "Shutdown").err)
				require.ErrorIs(t, c.Err(), ErrClosed)
			}
		})
	}
}

// A peer that does not end its direction has the time of the context.
func TestConnShutdownInTime(t *testing.T) {
	w := newWorld(t, "tcp")
	_, l := w.listening("bob")
	_, c := w.joined(l, role("wire@test"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := async(func() (int, error) { return 0, c.Shutdown(ctx) })
	require.NoError(t, arrives(t, done, "Shutdown").err)
	require.ErrorIs(t, c.Err(), ErrClosed)
	require.ErrorIs(t, c.Shutdown(t.Context()), ErrClosed)
}

// Shutdown does not wait for functions whose callers have gone, if the functions heed their contexts; its error names those that it has
// waited for.
func TestShutdownWhileFunctionsRun(t *testing.T) {
	for _, goes := range []string{"before", "during", "stays"} {
		t.Run(goes, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice")
			running := make(chan struct{}, 2)
			n.Expose("m", "hang", func(ctx context.Context, _ []ei.Term) (any, error) {
				running <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			})
			p := w.peer(n.Listeners()[0], role("wire@test"))
			p.request(1, "m", "hang", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}})
			p.request(2, "erpc", "execute_cast", ei.List{}, ei.Atom("m"), ei.Atom("hang"), ei.List{})
			arrives(t, running, "a call")
			arrives(t, running, "a cast")
			c := w.conn(n, "wire@test")
			ctx := w.ctx()
			switch goes {
			case "before":
				p.close()
				arrives(t, c.Done(), "the end of the connection")
			case "during":
				context.AfterFunc(n.shutsDown(t), p.close)
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

// shutsDown gives a context that ends when the node has begun to drain.
func (n *Node) shutsDown(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		defer cancel()
		for range time.Tick(time.Millisecond) {
			n.procs.turns.mu.Lock()
			drains := n.procs.turns.drains
			n.procs.turns.mu.Unlock()
			if drains || ctx.Err() != nil {
				return
			}
		}
	}()
	return ctx
}
