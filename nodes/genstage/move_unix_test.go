//go:build unix

package genstage_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/genstage"
	"github.com/cnode-go/cnode/transport"
)

// movable starts a node over TCP, and returns the Config for the one that goes on in its place.
func movable(t *testing.T, name string, table nodes.Static, setup func(n *nodes.Node) error) (*nodes.Node, nodes.Config) {
	t.Helper()
	cfg := nodes.Config{Name: name, Cookie: "secret", Resolver: table, Setup: setup,
		Listen: transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))}
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(t.Context()))
	table[name] = nodes.Endpoint{Addr: n.Listeners()[0].Addr()}
	return n, cfg
}

// move has a node go on in another Node value.
func move(t *testing.T, n *nodes.Node, cfg nodes.Config) *nodes.Node {
	t.Helper()
	f, err := n.Freeze(expect.Context(t))
	require.NoError(t, err)
	var descriptors []int
	for _, fd := range f.Descriptors() {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		descriptors = append(descriptors, own)
	}
	s, err := nodes.Restore(cfg, f.State(), descriptors)
	require.NoError(t, err)
	t.Cleanup(func() { s.Node().Close() })
	left := s.Mailboxes()
	require.NoError(t, f.Release())
	require.NoError(t, s.Start(expect.Context(t)))
	for _, b := range left {
		b.Close()
	}
	return s.Node()
}

// A producer with a name goes on in the next process: its subscriptions, what they have demanded,
// and what was not demanded yet. A subscription without a name ends.
func TestMove(t *testing.T) {
	ctx := expect.Context(t)
	table := nodes.Static{}
	peer, _ := movable(t, "peer@127.0.0.1", table, nil)
	source := newTap()
	first := []int{-3, -2, -1} // given at once, whatever is demanded
	var p *genstage.Producer
	n, cfg := movable(t, "front@127.0.0.1", table, func(n *nodes.Node) (err error) {
		p, err = genstage.Produce(n, "orders", nil, func(ctx context.Context, demand int) ([]int, error) {
			if events := first; events != nil {
				first = nil
				return events, nil
			}
			return source.take(ctx, demand)
		})
		return err
	})
	s, gone := newStage(t, peer), newStage(t, peer)
	s.orders(p.Pid(), ei.Int(1), "{subscribe, nil, []}")
	s.orders(p.Pid(), ei.Int(1), "{ask, 2}")
	s.expects(ei.Int(1), "[-3,-2]")
	gone.orders(p.Pid(), ei.Int(2), "{subscribe, nil, []}")
	require.Eventually(t, func() bool { return len(p.Consumers()) == 2 }, expect.Limit, tick)
	elsewhere := produces(t, peer, nil, newTap())
	sub, err := genstage.Subscribe(ctx, n, elsewhere.Pid(), nil, func(context.Context, []int) error { return nil })
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(elsewhere.Consumers()) == 1 }, expect.Limit, tick)

	old := p
	n = move(t, n, cfg)
	ended(t, old.Done())
	require.ErrorIs(t, old.Err(), nodes.ErrMoved)
	ended(t, sub.Done())
	require.ErrorIs(t, sub.Err(), nodes.ErrMoved)
	require.Eventually(t, func() bool { return len(elsewhere.Consumers()) == 0 }, expect.Limit, tick)
	require.Equal(t, old.Pid(), p.Pid())
	require.Len(t, p.Consumers(), 2)
	s.orders(p.Pid(), ei.Int(1), "{ask, 3}")
	s.expects(ei.Int(1), "[-1]")
	gone.b.Close() // its monitor has moved, too
	require.Eventually(t, func() bool { return len(p.Consumers()) == 1 }, expect.Limit, tick)

	// with a demand that is open
	old = p
	n = move(t, n, cfg)
	ended(t, old.Done())
	source.open(10, nil)
	s.expects(ei.Int(1), "[0,1]")
	s.orders(p.Pid(), ei.Int(1), "{cancel, enough}")
	s.expects(ei.Int(1), "{cancel,enough}")
	require.NoError(t, n.Close())
}

// A subscription with a name goes on in the next process, and loses nothing.
func TestMoveSubscription(t *testing.T) {
	table := nodes.Static{}
	peer, _ := movable(t, "peer@127.0.0.1", table, nil)
	source := newTap()
	_, err := genstage.Produce(peer, "numbers", nil, source.take)
	require.NoError(t, err)
	got := make(chan int, 10_000)
	var sub *genstage.Subscription
	n, cfg := movable(t, "front@127.0.0.1", table, func(n *nodes.Node) (err error) {
		sub, err = genstage.SubscribeName(t.Context(), n, peer.Name(), "numbers", &genstage.Options{MaxDemand: 7, Name: "numbers"},
			func(_ context.Context, events []int) error {
				for _, i := range events {
					got <- i
				}
				return nil
			})
		return err
	})
	next := 0
	for range 5 {
		source.open(1000, nil)
		for range 500 {
			require.Equal(t, next, expect.Returns(t, got))
			next++
		}
		old := sub
		n = move(t, n, cfg)
		ended(t, old.Done())
		require.ErrorIs(t, old.Err(), nodes.ErrMoved)
		for range 500 {
			require.Equal(t, next, expect.Returns(t, got))
			next++
		}
	}
	require.NoError(t, sub.Cancel(t.Context(), ei.Atom("enough")))
	require.Empty(t, got)
	require.NoError(t, n.Close())
}
