package interop

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// An idle connection lives on, although the Erlang node's ticks are more frequent than ours: each
// is answered. With a net_ticktime of 4 s the node gives up after 3 to 5 s of silence.
func TestServeTicks(t *testing.T) {
	t.Parallel()
	var pairs []pair
	var waits []func() string
	for _, r := range otp.Releases(t) { // all at once, since they only wait
		p := newPair(t, r, "-kernel", "net_ticktime", "4")
		require.Equal(t, "4", p.eval(t, "net_kernel:get_net_ticktime()"))
		wait := p.erl.Async(t, p.about(`pong = net_adm:ping(N), monitor_node(N, true), receive {nodedown, N} -> down after 6000 -> up end`))
		pairs, waits = append(pairs, p), append(waits, wait)
	}
	for i, p := range pairs {
		require.Equal(t, "up", waits[i](), "OTP %d", p.erl.Release().Number)
		p.is(t, [][2]string{{`nodes(hidden)`, `[{N}]`}, {`gen_server:call({peer, N}, still, infinity)`, `{ok,still}`}})
	}
}
