package nodes

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes/dist"
)

func TestCloseEndsEverything(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		a, b := w.started("alice"), w.started("bob")
		b.Expose("m", "wait", func(ctx context.Context, _ []ei.Term) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
		handling := make(chan struct{})
		serve(t, b, "srv", Server{Call: func(ctx context.Context, _ *Call) (any, error) {
			close(handling)
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		extra := of(b.ListenOn(w.ctx(), w.tr, w.addr("extra"))).must(t)
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
				assert.NoError(t, b.Close())
			})
		}
		inTime(t, "Close", wg.Wait)
		for i, r := range waiting {
			require.Error(t, arrives(t, r, "the end of a call").err, i)
		}
		half.Gone()
		require.ErrorIs(t, cb.Err(), ErrClosed)
		require.Error(t, ended(t, ca))
		require.ErrorIs(t, b.Err(), ErrClosed)
		arrives(t, b.Done(), "Done")
		require.Empty(t, b.Peers())
		require.Empty(t, b.Listeners())
		require.Zero(t, b.Stats().Mailboxes)
		require.Zero(t, tableSize(b))
		require.NoError(t, b.Close())
		_, err := b.Serve("x", Server{}, nil)
		require.ErrorIs(t, err, ErrClosed)
		_, err = b.RPC(w.ctx(), "alice@test", "m", "f")
		require.ErrorIs(t, err, ErrClosed)
	})
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

// awaitDrain waits until nothing new begins in a node that is shut down.
func awaitDrain(t *testing.T, n *Node) {
	t.Helper()
	require.Eventually(t, n.life.Refuses, tooLong, tick)
}

// A log that is sent to a mailbox of the node tells of a connection that was found broken while
// that mailbox, locked, was sending a signal.
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
	c := connect(t, n, "bob@test")
	b := box(t, n)
	to.Store(b)
	inTime(t, "changeNow", func() {
		_ = b.changeNow(w.ctx(), c, func() (*dist.Control, error) { c.l.Fail(io.EOF); return nil, nil })
	})
	arrives(t, told, "the log")
	require.Contains(t, string(term(t, b).(ei.Binary)), "node down")
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// Close does not wait for a function that does not come back.
func TestCloseBesideHungFunction(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
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
		require.NoError(t, b.Close())
		// a write in progress takes a moment to end
		require.InDelta(t, farewell, time.Since(begin), float64(100*time.Millisecond))
		require.Error(t, (<-called).err)
		close(proceed)
	})
}

// A node that is being shut down is not frozen any more: the node that would go on elsewhere has no
// listeners.
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
				require.Eventually(t, b.life.IsMoving, tooLong, tick)
				over = shutdown()
			} else {
				over = shutdown()
			}
			require.Eventually(t, func() bool { return b.drain.shutting.Load() > 0 }, tooLong, tick)
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

// Data that was sent arrives before the connection ends, although data of the peer's is unread, in
// which case Close would make the system discard what was sent; on either level.
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
				p.Say("nobody", ei.Binary("unread"))
				p.Send(dist.Control{Op: dist.OpUnlink, From: p.Self, To: c.Self()}, nil)
				sent := async(func() (int, error) {
					for range count {
						if err := c.SendName(w.ctx(), "x", make([]byte, 10_000)); err != nil {
							return 0, err
						}
					}
					return 0, c.Shutdown(w.ctx())
				})
				for range count {
					ctl, _ := p.Next()
					require.Equal(t, dist.OpRegSend, ctl.Op)
				}
				_, err := p.ReadFrame(w.ctx())
				require.ErrorIs(t, err, io.EOF)
				p.Close()
				require.NoError(t, arrives(t, sent, "Shutdown").err)
				require.ErrorIs(t, c.Err(), ErrClosed)
			}
		})
	}
}

// A peer that asks something of a connection that is being shut down gets no answer, but all that
// was sent before.
func TestShutdownBesideQuestions(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		n, p := w.met("bob")
		c := w.conn(n, "wire@test")
		const count = 10
		for range count {
			require.NoError(t, c.SendName(w.ctx(), "x", make([]byte, 1000)))
		}
		down := async(func() (int, error) { return 0, c.Shutdown(w.ctx()) })
		require.Eventually(t, c.l.Leaves, tooLong, tick)
		nobody := of(n.NewPid()).must(t)
		for i, before := 0, c.l.Traffic().BytesReceived; c.l.Traffic().BytesReceived < before+3; i++ {
			p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, To: nobody, Ref: monitorRef(p, i)}, nil)
		}
		require.NoError(t, c.Err())
		for range count {
			ctl, _ := p.Next()
			require.Equal(t, dist.OpRegSend, ctl.Op)
		}
		p.Close()
		require.NoError(t, arrives(t, down, "Shutdown").err)
	})
}

// A peer that breaks the connection with something unread has lost it, and Shutdown says so,
// whether that was before or meanwhile.
func TestShutdownUnread(t *testing.T) {
	for _, before := range []bool{true, false} {
		w := newWorld(t, "tcp")
		p, c := w.wired()
		require.NoError(t, c.SendName(w.ctx(), "x", "unread"))
		require.NoError(t, c.Flush(w.ctx()))
		require.Eventually(t, func() bool { unread, _ := p.S.PendingBytes(); return unread > 0 }, tooLong, tick)
		if before {
			p.Close()
			require.Error(t, c.Shutdown(w.ctx()))
			continue
		}
		down := async(func() (int, error) { return 0, c.Shutdown(w.ctx()) })
		expect.WaitsIn(t, "", "nodes.(*Conn).awaitParting(") // its own direction has ended
		p.Close()
		require.ErrorIs(t, arrives(t, down, "Shutdown").err, syscall.ECONNRESET)
	}
}

// A peer that does not end its direction has the time of the context.
func TestConnShutdownInTime(t *testing.T) {
	_, c := newWorld(t, "tcp").wired()
	done := async(func() (int, error) { return 0, c.Shutdown(brief(t)) })
	require.NoError(t, arrives(t, done, "Shutdown").err)
	require.ErrorIs(t, c.Err(), ErrClosed)
	require.ErrorIs(t, c.Shutdown(t.Context()), ErrClosed)
}

// A connection that is being shut down goes nowhere else.
func TestDetachDuringShutdown(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("bob")
	w.peer(n.Listeners()[0], role("wire@test"))
	c := w.conn(n, "wire@test")
	down := async(func() (int, error) { return 0, c.Shutdown(w.ctx()) })
	require.Eventually(t, c.l.Leaves, tooLong, tick)
	moved, err := c.Detach(w.ctx())
	if err != nil {
		return
	}
	require.Error(t, arrives(t, down, "Shutdown").err, "the connection goes on elsewhere")
	require.NoError(t, of(n.Adopt(w.ctx(), moved)).must(t).SendName(w.ctx(), "x", ei.Atom("y")))
}

// A peer may end its direction within a message: the connection has ended as wanted.
func TestShutdownHalfFrame(t *testing.T) {
	w := newWorld(t, "tcp")
	n, p := w.met("bob")
	c := w.conn(n, "wire@test")
	require.NoError(t, p.Write([]byte{0, 0, 1, 0, 112}))
	down := async(func() (int, error) { return 0, c.Shutdown(w.ctx()) })
	require.Eventually(t, c.l.Leaves, tooLong, tick)
	require.NoError(t, p.S.CloseWrite())
	require.NoError(t, arrives(t, down, "Shutdown").err)
	require.ErrorIs(t, c.Err(), ErrClosed)
}

// A Close beside Shutdown may cost what the peer has not read, and Shutdown says so.
func TestShutdownBesideConnClose(t *testing.T) {
	w := newWorld(t, "tcp")
	_, l := w.listening("bob")
	_, c := w.joined(l, role("wire@test")) // it does not read
	require.NoError(t, c.SendName(w.ctx(), "x", ei.Atom("lost")))
	down := async(func() (int, error) { return 0, c.Shutdown(w.ctx()) })
	require.Eventually(t, c.l.Leaves, tooLong, tick)
	require.NoError(t, c.Close())
	require.Error(t, arrives(t, down, "Shutdown").err)

	// The same if Close comes between Shutdown's flush and its end of the sending direction.
	_, c = w.joined(l, role("wire@test"))
	require.NoError(t, c.SendName(w.ctx(), "x", ei.Atom("lost")))
	require.NoError(t, c.Flush(w.ctx()))
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.bye(w.ctx()), ErrClosed)
}

// The signals of a process that has ended before Shutdown arrive.
func TestExitsBeforeShutdown(t *testing.T) {
	w := newWorld(t, "tcp")
	n, p := w.met("bob")
	c := w.conn(n, "wire@test")
	b := box(t, n)
	count := need.Fewer(2000, 20_000)
	for i := range count {
		p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, To: b.Pid(), Ref: monitorRef(p, i)}, nil)
	}
	require.Eventually(t, func() bool { return len(watchersOf(b)) == count }, tooLong, tick)
	b.Exit(ei.Atom("gone"))
	down := async(func() (int, error) { return 0, c.Shutdown(w.ctx()) })
	got := 0
	for {
		body, err := p.ReadFrame(w.ctx())
		if err != nil {
			break
		}
		if len(body) > 0 {
			got++
		}
	}
	p.Close()
	require.NoError(t, arrives(t, down, "Shutdown").err)
	require.Equal(t, count, got)
}
