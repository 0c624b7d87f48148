//go:build unix

package nodes

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

// An upgrade while functions and handlers run: they finish, and no new ones begin.

// Handlers that do not finish keep the node in its process, and everything goes on.
func TestUpgradeDrain(t *testing.T) {
	w := newWorld(t, "tcp")
	ctx := w.ctx()
	peer := w.started("peer")
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	n := w.started("front", func(c *Config) {
		c.DrainTimeout = 100 * time.Millisecond
		c.Setup = func(n *Node) error {
			_, err := n.Serve("server", Server{Call: func(_ context.Context, c *Call) (any, error) {
				entered <- struct{}{}
				<-release
				return c.Request, nil
			}}, nil)
			return err
		}
	})
	call := async(func() (ei.Term, error) { return peer.CallName(ctx, "front@test", "server", 1) })
	<-entered
	_, err := n.Freeze(ctx)
	require.ErrorIs(t, err, ErrDraining)
	require.NoError(t, n.Err())
	close(release)
	require.NoError(t, (<-call).err)
	of(peer.CallName(ctx, "front@test", "server", 2)).must(t)
	<-entered
	n.cfg.DrainTimeout = time.Minute
	n.cfg.Handover = func(context.Context) ([]byte, error) { return nil, errFault }
	_, err = n.Freeze(ctx)
	require.ErrorIs(t, err, errFault)
	n.cfg.Handover = nil
	f := freeze(t, n)
	call = async(func() (ei.Term, error) { return peer.CallName(ctx, "front@test", "server", 3) })
	select {
	case <-call:
		require.Fail(t, "answered while frozen")
	case <-time.After(20 * time.Millisecond):
	}
	f.Thaw()
	require.NoError(t, (<-call).err)
	require.NoError(t, f.Release(), "too late")
	require.NoError(t, n.Err())
}

// While a connection, or the node, is being frozen, a function that waits for its caller's node
// gets what that node sends, and so does a server.
func TestFreezeNeedsToRead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		freeze func(n *Node, c *Conn) (interface{ Thaw() }, error)
		drains func(n *Node, c *Conn) bool
	}{
		{
			"connection", func(n *Node, c *Conn) (interface{ Thaw() }, error) { return c.Freeze(soon(t)) },
			func(n *Node, c *Conn) bool { return c.l.Life().Phase() == life.Draining },
		},
		{
			"node", func(n *Node, c *Conn) (interface{ Thaw() }, error) { return n.Freeze(soon(t)) },
			func(n *Node, c *Conn) bool { return n.life.Phase() == life.Draining },
		},
	} {
		for _, asked := range []string{"function", "server"} {
			t.Run(tt.name+" of a "+asked, func(t *testing.T) {
				w := newWorld(t, "tcp")
				proceed, entered := make(chan struct{}), make(chan struct{})
				peer, n := w.started("peer"), w.started("front")
				peer.Expose("m", "back", func(context.Context, []ei.Term) (any, error) { <-proceed; return 42, nil })
				back := func(ctx context.Context) (any, error) {
					close(entered)
					return ConnOf(ctx).RPC(ctx, "m", "back")
				}
				n.Expose("m", "there", func(ctx context.Context, _ []ei.Term) (any, error) { return back(ctx) })
				serve(t, n, "server", Server{Call: func(ctx context.Context, _ *Call) (any, error) { return back(ctx) }})
				answer := async(func() (ei.Term, error) {
					if asked == "server" {
						return peer.CallName(w.ctx(), "front@test", "server", 1)
					}
					return peer.RPC(w.ctx(), "front@test", "m", "there")
				})
				<-entered
				c := w.conn(n, "peer@test")
				frozen := async(func() (interface{ Thaw() }, error) { return tt.freeze(n, c) })
				require.Eventually(t, func() bool { return tt.drains(n, c) }, tooLong, tick)
				close(proceed)
				arrives(t, frozen, "the end of the freeze").must(t).Thaw()
				require.Equal(t, ei.Int(42), arrives(t, answer, "the answer").must(t))
			})
		}
	}
}

// While the node is being frozen, running functions and servers get answers from this node's
// servers, whatever keeps these busy.
func TestUpgradeBesideOwnServers(t *testing.T) {
	given := func(ctx context.Context) context.Context { return ctx }
	own := func(context.Context) context.Context { return context.Background() }
	function := func(ctx context.Context, peer, _ *Node, _ int) error {
		_, err := peer.RPC(ctx, "front@test", "m", "f")
		return err
	}
	for what, test := range map[string]struct {
		of func(ctx context.Context) context.Context // that functions and servers call with
		by func(ctx context.Context, peer, n *Node, i int) error
	}{
		"function":                           {given, function},
		"function with a context of its own": {own, function},
		"server": {given, func(ctx context.Context, peer, _ *Node, i int) error {
			_, err := peer.CallName(ctx, "front@test", fmt.Sprint("first", i%4), 1)
			return err
		}},
		"application": {given, func(ctx context.Context, _, n *Node, i int) error {
			_, err := n.CallName(ctx, "front@test", fmt.Sprint("first", i%4), 1)
			return err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "tcp")
			peer := w.started("peer")
			n := w.started("front", func(c *Config) {
				c.DrainTimeout = tooLong
				c.Setup = func(n *Node) error {
					second := func(ctx context.Context) (any, error) { return n.CallName(test.of(ctx), "front@test", "second", 1) }
					n.Expose("m", "f", func(ctx context.Context, _ []ei.Term) (any, error) { return second(ctx) })
					for i := range 4 {
						call := func(ctx context.Context, _ *Call) (any, error) { return second(ctx) }
						if _, err := n.Serve(fmt.Sprint("first", i), Server{Call: call}, nil); err != nil {
							return err
						}
					}
					_, err := n.Serve("second", Server{Call: func(context.Context, *Call) (any, error) {
						time.Sleep(time.Millisecond)
						return 1, nil
					}}, nil)
					return err
				}
			})
			for i := range 8 {
				loop(t, func(ctx context.Context) error { return test.by(ctx, peer, n, i) })
			}
			require.Eventually(t, func() bool { return n.life.Work.Count() > 0 }, tooLong, tick)
			for range 2 {
				freezes(t, n)
			}
		})
	}
}

// Long-running functions do not keep a node from being frozen, though some are always running.
func TestUpgradeBesideLongCalls(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, "tcp")
	peer := w.started("peer")
	n := w.started("front", func(c *Config) { c.DrainTimeout = tooLong })
	n.Expose("m", "nap", func(context.Context, []ei.Term) (any, error) {
		time.Sleep(450 * time.Millisecond) // the longest turn of wait.ByTurns, and the first
		return 1, nil
	})
	ctx := soon(t)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	loop(t, func(context.Context) error {
		time.Sleep(10 * time.Millisecond)
		wg.Go(func() {
			if _, err := peer.RPC(ctx, "front@test", "m", "nap"); err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	require.Eventually(t, func() bool { return n.life.Work.Count() >= 20 }, tooLong, tick)
	freezes(t, n)
}
