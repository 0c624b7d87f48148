//go:build unix

package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/discovery"
)

// A process goes on as the node: its peers see nothing, the Keeper there finds them, and keeps
// them.
func TestKeepThroughMove(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		cfg := gonode.Config(t, "go@127.0.0.1", port)
		n := gonode.Start(t, cfg)
		e := &events{}
		k := keep(t, n, discovery.List{erl.Name()}, e.options())
		require.Equal(t, "connected", e.next(t, erl.Name()).what)
		erl.Eval(t, `(fun W() -> lists:member('go@127.0.0.1', nodes(hidden)) orelse begin timer:sleep(1), W() end end)(),
			net_kernel:monitor_nodes(true, #{node_type => hidden})`) // it may hear of the connection later than Go does

		later := gonode.Move(t, n, cfg).Node()
		t.Cleanup(func() { later.Close() })
		<-k.Done()
		require.Empty(t, e.of(erl.Name()), "the one before has lost nothing")

		keep(t, later, discovery.List{erl.Name()}, e.options())
		require.Equal(t, "connected", e.next(t, erl.Name()).what)
		require.Equal(t, "none", erl.Eval(t, `receive X -> X after 0 -> none end`))
		require.Equal(t, "true", erl.Eval(t, "erlang:disconnect_node('go@127.0.0.1')"))
		require.Equal(t, "lost", e.next(t, erl.Name()).what)
		require.Equal(t, "connected", e.next(t, erl.Name(), "failed").what)
	})
}
