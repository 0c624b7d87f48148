package discovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/transport"
)

// linePort is where the nodes at both ends of a line listen, each at its own address.
const linePort = 4370

// The line between two nodes is cut: both see the other one go down once it has been silent for too
// long; attempts fail, until the line is mended.
func TestKeepThroughSplit(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		l := line.New(t, line.Options{Rate: 8e6})
		here, there := l.End(0), l.End(1)
		var erl *otp.Node
		require.NoError(t, there.Do(func() error {
			erl = r.Start(t, otp.Across("erl", there.Addr(), linePort))
			return nil
		}))
		n := gonode.Start(t, nodes.Config{
			Name: "go@" + here.Addr(), Cookie: otp.DefaultCookie, HandshakeTimeout: time.Second, TickInterval: time.Second,
			Transport: here.Transport(transport.TCP()), Resolver: nodes.FixedPort(linePort),
			Listen: parseAddr(t, fmt.Sprintf("%s:%d", here.Addr(), linePort)), Logger: otp.Log(t, "go"),
		})
		e := &events{}
		keep(t, n, discovery.List{erl.Name()}, e.options())
		require.Equal(t, "connected", e.next(t, erl.Name(), "failed").what)
		down := erl.Async(t, fmt.Sprintf(`monitor_node('%s', true), receive {nodedown, N} -> N end`, n.Name()))
		l.Cut()
		lost := e.next(t, erl.Name())
		require.Equal(t, "lost", lost.what)
		require.Equal(t, nodes.DownTickTimeout, lost.Why)
		require.ErrorIs(t, lost.Err, nodes.ErrTickTimeout)
		failed := e.next(t, erl.Name())
		require.Equal(t, "failed", failed.what)
		require.ErrorIs(t, failed.Err, nodes.ErrHandshakeTimeout)
		l.Mend()
		require.Equal(t, "connected", e.next(t, erl.Name(), "failed").what)
		require.Equal(t, "'"+n.Name()+"'", down())
		erl.Becomes(t, "nodes(hidden)", "['"+n.Name()+"']")
	})
}
