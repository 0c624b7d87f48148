package pg

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// linePort is where the nodes at both ends of a line listen.
const linePort = 4370

// The line between two nodes, in network namespaces of their own, is cut: for a moment, which costs
// nothing; and until both have given the other up, while members come and go on both sides.
func TestPartition(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		t.Parallel()
		both(t, func(t *testing.T, visible bool) {
			t.Parallel()
			l := line.New(t, line.Options{Rate: 100e6})
			here, there := l.End(0), l.End(1)
			var erl *otp.Node
			require.NoError(t, there.Do(func() error {
				erl = r.Start(t, otp.Across("erl", there.Addr(), linePort))
				return nil
			}))
			startScope(t, erl)
			scope := scopeOf(t, erl)
			at, err := transport.ParseAddr(fmt.Sprintf("%s:%d", here.Addr(), linePort))
			require.NoError(t, err)
			n, s := goNode(t, linePort, visible, func(cfg *nodes.Config) {
				cfg.Name, cfg.TickInterval = "go@"+here.Addr(), time.Second
				cfg.Transport, cfg.Resolver = here.Transport(transport.TCP()), nodes.FixedPort(linePort)
				cfg.Listen = at
			})
			g, a := ei.Atom("g"), box(t, n)
			require.NoError(t, s.Join(soon(t), g, a))
			member(t, erl, "m1", "g")
			connect(t, n, erl)
			for i := range otp.Times("CNODE_PG_CUTS", 1) {
				sees(t, s, g, erl.Name(), n.Name())
				seesErl(t, erl, "g", erl.Name(), n.Name())

				l.Cut() // for a moment
				require.NoError(t, s.Join(soon(t), g, a))
				member(t, erl, "m2", "g")
				time.Sleep(100 * time.Millisecond)
				l.Mend()
				sees(t, s, g, erl.Name(), erl.Name(), n.Name(), n.Name())
				seesErl(t, erl, "g", erl.Name(), erl.Name(), n.Name(), n.Name())

				l.Cut()
				require.NoError(t, s.Leave(soon(t), g, a))
				require.NoError(t, s.Join(soon(t), i, a))
				stop(t, erl, "m2")
				sees(t, s, g, n.Name())
				seesErl(t, erl, "g", erl.Name())
				require.NoError(t, s.Join(soon(t), i, a))
				l.Mend()
				require.True(t, eventually(func() bool { _, err := n.Connect(soon(t), erl.Name()); return err == nil || n.Conn(erl.Name()) != nil }))
				seesErl(t, erl, fmt.Sprint(i), n.Name(), n.Name())
			}
			require.Equal(t, scope, scopeOf(t, erl))
		})
	})
}
