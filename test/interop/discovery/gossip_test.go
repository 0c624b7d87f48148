package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
)

// A crowd is nodes that find each other by gossip on the loopback interface.
type crowd struct {
	e      otp.Elixir
	mapper int
	gossip discovery.Gossip
}

func newCrowd(t *testing.T, e otp.Elixir, secret string) *crowd {
	group := netip.AddrPortFrom(netip.MustParseAddr("233.252.1.32"), uint16(port.Free(t)))
	g := discovery.Gossip{Secret: secret, Group: group, Interface: "127.0.0.1", Interval: 100 * time.Millisecond}
	return &crowd{e, otp.Epmd(t), g}
}

// name is that of a node of this crowd, and of no other.
func (c *crowd) name(alive string) string {
	return fmt.Sprintf("%s-%d@127.0.0.1", alive, c.gossip.Group.Port())
}

// elixir starts an Elixir node that announces, listens, or both.
func (c *crowd) elixir(t *testing.T, name, mode string) *otp.Program {
	t.Helper()
	text, err := os.ReadFile("testdata/gossip.exs")
	require.NoError(t, err)
	return otp.Serve(t, c.e.Command(context.Background(), t, c.mapper, name, string(text),
		fmt.Sprintf("GOSSIP_PORT=%d", c.gossip.Group.Port()), "GOSSIP_SECRET="+c.gossip.Secret, "GOSSIP_MODE="+mode))
}

// hidden are the hidden nodes that a node knows.
func hidden(t *testing.T, n *nodes.Node, of string) []string {
	names, err := nodes.RPCAs[[]ei.Atom](expect.Context(t), n, of, "erlang", "nodes", ei.Atom("hidden"))
	require.NoError(t, err)
	var list []string
	for _, name := range names {
		list = append(list, string(name))
	}
	return list
}

// A Go node that listens connects to the Elixir node that announces itself; an Elixir node that
// listens connects to the Go node that announces itself. With and without a secret; through the
// kill and the restart of the Elixir node.
func TestGossipWithElixir(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		t.Parallel()
		for _, secret := range []string{"", "somepassword"} {
			t.Run("secret="+secret, func(t *testing.T) {
				t.Parallel()
				c := newCrowd(t, e, secret)
				wrong := c.gossip
				wrong.Secret += "another one"

				listens := gonode.Start(t, gonode.Config(t, c.name("listens"), c.mapper))
				heard := &events{}
				quiet := c.gossip
				quiet.ListenOnly = true
				keep(t, listens, quiet, heard.options())

				announces := gonode.Start(t, gonode.Config(t, c.name("announces"), c.mapper))
				found := &events{}
				o := found.options()
				o.Only = func(string) bool { return false } // it connects to nobody
				keep(t, announces, c.gossip, o)
				news := watched(t, announces)

				// what a Go node announces is heard by another one, too
				require.Equal(t, "connected", heard.next(t, c.name("announces")).what)
				require.Equal(t, c.name("listens"), news().Node)

				alien := gonode.Start(t, gonode.Config(t, c.name("alien"), c.mapper))
				ak := keep(t, alien, wrong, nil)

				c.elixir(t, c.name("ears"), "listen")
				require.Equal(t, nodes.NodeEvent{Node: c.name("ears"), Up: true, Type: nodes.HiddenNodes}, news())
				require.Equal(t, []string{c.name("announces")}, hidden(t, announces, c.name("ears")))

				mouth := c.elixir(t, c.name("mouth"), "announce")
				require.Equal(t, "connected", heard.next(t, c.name("mouth")).what)
				require.Equal(t, []string{c.name("listens")}, hidden(t, listens, c.name("mouth")))
				mouth.Kill()
				require.Equal(t, "lost", heard.next(t, c.name("mouth")).what)
				require.Equal(t, "failed", heard.next(t, c.name("mouth")).what)
				c.elixir(t, c.name("mouth"), "both")
				require.Equal(t, "connected", heard.next(t, c.name("mouth"), "failed").what)
				for name := c.name("announces"); ; { // from now on the Elixir nodes have each other as well
					if e := news(); e.Node == c.name("mouth") && e.Up {
						require.Contains(t, hidden(t, announces, c.name("mouth")), name)
						break
					}
				}
				require.Empty(t, ak.Peers())
				require.NoError(t, ak.SourceErr())
				require.Empty(t, alien.Peers())
			})
		}
	})
}
