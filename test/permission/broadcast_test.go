package permission

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// A subscriber that is a Server gets what a peer has broadcast, and answers it: in whose name the
// peer says, if the rules let it send there.
func TestBroadcasts(t *testing.T) {
	eachRules(t, func(t *testing.T, s *scene, touches func(r row) string) {
		ctx := expect.Context(t)
		scope, err := pg.Start(ctx, s.all, "topics", nil)
		require.NoError(t, err)
		ps, err := pubsub.Start(ctx, s.all, "Topics", &pubsub.Options{Scope: scope})
		require.NoError(t, err)
		b, err := s.all.Serve("subscriber", nodes.Server{
			Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }, State: func() any { return 1 },
		}, nil)
		require.NoError(t, err)
		require.NoError(t, ps.Subscribe(b, "news"))

		v := s.victims()
		for _, who := range v.all {
			theirs := ei.Ref{Node: who.Pid().Node, Creation: who.Pid().Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
			for _, tag := range []ei.Term{theirs, ei.Atom("$gen_cast")} {
				from := ei.Tuple{who.Pid(), tag}
				for _, message := range []ei.Term{
					ei.Tuple{ei.Atom("$gen_call"), from, ei.Atom("x")}, ei.Tuple{ei.Atom("system"), from, ei.Atom("get_state")},
				} {
					require.NoError(t, s.box.SendName(ctx, "all@host", "Elixir.Topics.Adapter",
						ei.Tuple{ei.Atom("forward_to_local"), ei.Binary("news"), message, ei.Atom("Elixir.Phoenix.PubSub")}))
				}
			}
		}
		v.settle("Elixir.Topics.Adapter")
		v.settle("subscriber")
		require.Equal(t, touches(row{touches: "send"}), v.touches())
	})
}
