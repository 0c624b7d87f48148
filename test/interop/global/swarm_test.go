package global

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// An Erlang node that connects to one node of a Swarm gets to know all, and is known to all.
func TestSwarm(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		const size = 6
		port := r.Epmd(t)
		var members []member
		s, err := nodestest.StartSwarm(t.Context(), size, func(cfg *nodes.Config) {
			c := config(t, cfg.Name, port)
			c.Setup = func(n *nodes.Node) error {
				g, err := global.Start(t.Context(), n, nil)
				members = append(members, member{g, n})
				return err
			}
			*cfg = c
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		require.NoError(t, s.Connect(within(t)))
		a := r.Start(t, otp.Options{EpmdPort: port})
		require.Equal(t, "pong", a.Eval(t, text("net_adm:ping('%s')", s.Nodes()[0].Name())))
		a.Becomes(t, "length(nodes())", text("%d", size))
		meet(t, members, []*otp.Node{a})

		box := members[size-1].process(t)
		require.NoError(t, members[size-1].Register(within(t), "swarm", box, global.Method{}))
		require.True(t, isPid(t, a, "swarm", box.Pid()))
	})
}
