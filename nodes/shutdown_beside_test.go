package nodes

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// deaf is a peer that reads nothing, and to which no more can be sent. Its process monitors b.
func (w *world) deaf(n *Node, b *Mailbox) *wire {
	w.t.Helper()
	self := role("deaf@test")
	self.Flags = withoutFragments
	p := w.peer(n.Listeners()[0], self)
	p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, To: b.Pid(), Ref: monitorRef(p, 1)}, nil)
	require.Eventually(w.t, func() bool { return len(watchersOf(b)) == 1 }, tooLong, tick)
	c := w.conn(n, "deaf@test")
	ctx, cancel := context.WithCancel(w.ctx())
	sends := async(func() (int, error) {
		for {
			if err := b.Send(ctx, p.Self, make([]byte, 64<<10)); err != nil {
				return 0, err
			}
		}
	})
	require.Eventually(w.t, link.Within(&c.l).IsFull, tooLong, tick)
	cancel()
	require.ErrorIs(w.t, arrives(w.t, sends, "the end of the sends").err, context.Canceled)
	return p
}

// A peer that does not read takes none of the time in which the others hear that processes end, and
// that the node does.
func TestFarewellBesideDeafPeer(t *testing.T) {
	inWorlds(t, []string{"tcp", "memory"}, func(t *testing.T, w *world) {
		n := w.started("alice")
		b := box(t, n)
		w.deaf(n, b)
		var others []*Mailbox
		var ends []<-chan struct{}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			peer := w.started(name)
			other := box(t, peer)
			monitor(t, other, b.Pid())
			others, ends = append(others, other), append(ends, w.conn(peer, n.Name()).Done())
		}
		require.Eventually(t, func() bool { return len(watchersOf(b)) == 1+len(others) }, tooLong, tick)
		ctx, cancel := context.WithCancel(w.ctx())
		defer cancel()
		down := async(func() (int, error) { return 0, n.Shutdown(ctx) })
		for i, other := range others {
			_, why := reason(t, other, dist.OpMonitorPExit)
			require.Equal(t, ei.Atom("shutdown"), why)
			arrives(t, ends[i], "the end of the connection")
		}
		require.NoError(t, n.Err())
		cancel()
		err := arrives(t, down, "Shutdown").err
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "deaf@test")
	})
}

// A Shutdown gives up a peer that reads nothing for a quarter of its time, also one for which a
// result waits. One that reads, though slowly, gets all.
func TestShutdownGivesUpDeafPeer(t *testing.T) {
	const limit = time.Minute
	for name, tt := range map[string]struct {
		asks  bool          // it calls a function and a Server, and there is no room for the results
		reads time.Duration // a message so often; 0: never
		takes time.Duration
		want  error
	}{
		"deaf":        {false, 0, limit / 4, errDeaf},
		"deaf caller": {true, 0, limit / 4, errDeaf},
		"slow":        {true, limit / 64, limit * 18 / 64, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				n := w.started("alice")
				n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return make([]byte, 64<<10), nil })
				serve(t, n, "srv", Server{Call: func(context.Context, *Call) (any, error) { return make([]byte, 64<<10), nil }})
				p := w.deaf(n, box(t, n))
				defer p.Close()
				c := connect(t, w.started("bob"), n.Name())
				if tt.asks {
					p.Say("srv", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, monitorRef(p, 9)}, ei.Atom("x")})
					p.request(10, "m", "f", ei.List{ei.Atom("monitor")})
					synctest.Wait()
				}
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				begun := time.Now()
				down := async(func() (int, error) { return 0, n.Shutdown(ctx) })
				read := async(func() (int, error) {
					for err := error(nil); tt.reads > 0 && err == nil; _, err = p.ReadFrame(ctx) {
						time.Sleep(tt.reads)
					}
					return 0, nil
				})
				<-c.Done()
				if !tt.asks {
					require.Less(t, time.Since(begun), farewell, "another peer has waited")
				}
				err := (<-down).err
				require.InDelta(t, tt.takes, time.Since(begun), float64(2*farewell))
				require.Equal(t, tt.want != nil, err != nil, err)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
					require.ErrorContains(t, err, "deaf@test")
				}
				<-read
			})
		})
	}
}

// Whatever a Shutdown waits for, a Close beside it ends it, and is what its error says.
func TestCloseEndsShutdown(t *testing.T) {
	for name, tt := range map[string]struct {
		edit  func(cfg *Config)
		begin func(w *world, n *Node)
		state State // in which it waits
	}{
		"OnDrain": {nil, func(w *world, n *Node) {
			release := make(chan struct{})
			w.t.Cleanup(func() { close(release) })
			n.OnDrain(func(context.Context) error { <-release; return nil })
		}, StateDraining},
		"grace": {func(cfg *Config) { cfg.DrainGrace = time.Hour }, func(*world, *Node) {}, StateDraining},
		"function": {nil, func(w *world, n *Node) {
			running := make(chan struct{})
			n.Expose("m", "hang", func(ctx context.Context, _ []ei.Term) (any, error) {
				close(running)
				<-n.Done()
				return nil, nil
			})
			go func() { _, _ = n.RPC(context.Background(), n.Name(), "m", "hang") }()
			<-running
		}, StateStopping},
		"deaf peer": {nil, func(w *world, n *Node) { w.deaf(n, box(w.t, n)) }, StateStopping},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice", func(cfg *Config) {
				if tt.edit != nil {
					tt.edit(cfg)
				}
			})
			tt.begin(w, n)
			var downs []<-chan result[int]
			for range 2 {
				downs = append(downs, async(func() (int, error) { return 0, n.Shutdown(w.ctx()) }))
			}
			drained := async(func() (int, error) { return 0, n.Drain(w.ctx()) })
			require.Eventually(t, func() bool { return n.State() == tt.state }, tooLong, tick)
			expect.WaitIn(t, len(downs), "", "nodes.(*drain).finish(")
			require.NoError(t, n.Close())
			for _, down := range downs {
				require.ErrorIs(t, arrives(t, down, "Shutdown").err, ErrClosed)
			}
			require.NoError(t, arrives(t, drained, "Drain").err)
			require.NoError(t, n.Shutdown(w.ctx()), "there is nothing left to do")
		})
	}
}

// Two Shutdowns do one work, and neither is cut off by the end of the other.
func TestShutdownTwice(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.started("alice", func(cfg *Config) { cfg.DrainGrace = time.Second })
		p := w.peer(n.Listeners()[0], role("wire@test")) // it does not end its side
		defer p.Close()
		first := async(func() (int, error) { return 0, n.Shutdown(context.Background()) })
		time.Sleep(100 * time.Millisecond)
		second := async(func() (int, error) { return 0, n.Shutdown(context.Background()) })
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-second).err)
	})
}

// A function of OnDrain that ends its goroutine is one that has failed, whether the node waits for
// it or not.
func TestOnDrainGoexit(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	exits, calls := true, 0
	n.OnDrain(func(context.Context) error {
		if calls++; exits {
			runtime.Goexit()
		}
		return nil
	})
	err := arrives(t, async(func() (int, error) { return 0, n.Drain(soon(t)) }), "Drain").err
	require.ErrorIs(t, err, errDrainExits)
	late := make(chan struct{})
	n.OnDrain(func(context.Context) error { defer close(late); runtime.Goexit(); return nil })
	arrives(t, late, "that of a node that drains already")
	err = arrives(t, async(func() (int, error) { return 0, n.Drain(soon(t)) }), "Drain").err
	require.ErrorIs(t, err, errDrainExits)
	exits = false
	require.NoError(t, n.Shutdown(soon(t)))
	require.Equal(t, 3, calls)
}

// A function of OnDrain that hangs, since a peer does not answer it, say, leaves time for the rest.
func TestDrainLeavesTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, n := w.started("alice"), w.started("bob")
		n.OnDrain(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		n.Expose("m", "work", func(context.Context, []ei.Term) (any, error) {
			time.Sleep(8 * time.Second)
			return ei.Atom("done"), nil
		})
		called := async(func() (ei.Term, error) { return a.RPC(context.Background(), n.Name(), "m", "work") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		began := time.Now()
		down := async(func() (int, error) { return 0, n.Shutdown(ctx) })
		<-n.Stopping()
		require.Less(t, time.Since(began), 6*time.Second)
		r := (<-called).must(t)
		require.Equal(t, ei.Atom("done"), r)
		require.ErrorIs(t, (<-down).err, context.DeadlineExceeded)
		require.NoError(t, ctx.Err())
	})
}

// A peer that does not answer a node's farewell does not keep the farewell from other peers.
func TestShutdownBesideSilentPeer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, l := w.listening("silent")
		go func() { _, _ = l.Accept(w.ctx()) }() // and nothing is read
		n := w.started("front")
		connect(t, n, "silent@test")
		var ends []<-chan struct{}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			peer := w.started(name)
			c := connect(t, peer, "front@test")
			ends = append(ends, c.Done())
		}
		begun := time.Now()
		over := async(func() (int, error) { return 0, n.Shutdown(w.ctx()) })
		for _, end := range ends {
			<-end
		}
		require.Less(t, time.Since(begun), farewell, "the silent one has taken the time of the others")
		require.NoError(t, (<-over).err)
		require.GreaterOrEqual(t, time.Since(begun), farewell, "it had its own")
	})
}
