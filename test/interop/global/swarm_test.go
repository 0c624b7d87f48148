package global

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// Erlang nodes that connect to one node of a Swarm get to know all, and are known to all.
// CNODE_TEST_SWARM is how many nodes the Swarm has.
func TestSwarm(t *testing.T) {
	size := 6
	if text := os.Getenv("CNODE_TEST_SWARM"); text != "" {
		var err error
		size, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	otp.Together(t, func(t *testing.T, r otp.Release) {
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
		a, b := r.Start(t, otp.Options{EpmdPort: port}), r.Start(t, otp.Options{EpmdPort: port})
		for _, beam := range []*otp.Node{a, b} {
			require.Equal(t, "pong", beam.Eval(t, text("net_adm:ping('%s')", s.Nodes()[0].Name())))
			beam.Becomes(t, "length(nodes())", text("%d", size+map[*otp.Node]int{b: 1}[beam]))
		}
		a.Becomes(t, "length(nodes())", text("%d", size+1))
		meet(t, members, []*otp.Node{a, b})
		if status, err := os.ReadFile("/proc/self/status"); err == nil {
			_, rss, _ := strings.Cut(string(status), "VmRSS:")
			t.Log("memory", strings.TrimSpace(strings.SplitN(rss, "\n", 2)[0]))
		}

		box := members[size-1].process(t)
		require.NoError(t, members[size-1].Register(within(t), "swarm", box, global.Method{}))
		require.True(t, isPid(t, a, "swarm", box.Pid()))
	})
}
