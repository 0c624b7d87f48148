//go:build unix

package genstage_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/genstage"
)

// A mover is a node that can go on in another Node value.
type mover struct {
	*nodes.Node
	cfg nodes.Config
}

func newMover(t *testing.T, w *cluster.Cluster, setup func(n *nodes.Node) error) *mover {
	t.Helper()
	m := &mover{cfg: w.Config("front@host")}
	m.cfg.Setup = setup
	m.Node = w.Start(m.cfg)
	return m
}

func (m *mover) move(t *testing.T) {
	t.Helper()
	s := gonode.Move(t, m.Node, m.cfg)
	t.Cleanup(func() { s.Node().Close() })
	for _, b := range s.Mailboxes() {
		b.Close()
	}
	m.Node = s.Node()
}

// A producer with a name goes on in the next process: its subscriptions, what they have demanded,
// and what was not demanded yet. A subscription without a name ends.
func TestMove(t *testing.T) {
	ctx := expect.Context(t)
	w := cluster.Unix(t)
	peer := w.Start(w.Config("peer@host"))
	source := newTap()
	first := []int{-3, -2, -1} // given at once, whatever is demanded
	var p *genstage.Producer
	n := newMover(t, w, func(n *nodes.Node) (err error) {
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
	sub, err := genstage.Subscribe(ctx, n.Node, elsewhere.Pid(), nil, func(context.Context, []int) error { return nil })
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(elsewhere.Consumers()) == 1 }, expect.Limit, tick)

	old := p
	n.move(t)
	expect.Returns(t, old.Done())
	require.ErrorIs(t, old.Err(), nodes.ErrMoved)
	expect.Returns(t, sub.Done())
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
	n.move(t)
	expect.Returns(t, old.Done())
	source.open(10, nil)
	s.expects(ei.Int(1), "[0,1]")
	s.orders(p.Pid(), ei.Int(1), "{cancel, enough}")
	s.expects(ei.Int(1), "{cancel,enough}")
	require.NoError(t, n.Close())
}

// A subscription with a name goes on in the next process, and loses nothing.
func TestMoveSubscription(t *testing.T) {
	w := cluster.Unix(t)
	peer := w.Start(w.Config("peer@host"))
	source := newTap()
	_, err := genstage.Produce(peer, "numbers", nil, source.take)
	require.NoError(t, err)
	got := make(chan int, 10_000)
	var sub *genstage.Subscription
	n := newMover(t, w, func(n *nodes.Node) (err error) {
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
		n.move(t)
		expect.Returns(t, old.Done())
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
