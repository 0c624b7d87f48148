package global

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/pg"
)

// What the processes answer that every node of a cluster has.
func TestSys(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		erl := r.Start(t, otp.Options{})
		t.Run("sys", func(t *testing.T) { sys(t, erl) })
		t.Run("unknown calls", func(t *testing.T) { unknownCalls(t, erl) })
	})
}

// Module sys asks the processes that every node of a cluster has; nobody waits for an answer. What
// RabbitMQ asks when global:sync() takes long is there without package observer.
func sys(t *testing.T, erl *otp.Node) {
	m := member{}
	cfg := config(t, uniqueName("g"), erl.EpmdPort())
	cfg.Setup = func(n *nodes.Node) (err error) {
		if _, err = pg.Start(t.Context(), n, "", nil); err == nil {
			m.Global, err = global.Start(t.Context(), n, nil)
		}
		return err
	}
	m.n = gonode.Start(t, cfg)
	m.connect(t, erl)
	meet(t, []member{m}, []*otp.Node{erl})
	is := func(want, expr string) {
		t.Helper()
		require.Equal(t, want, erl.Do(t, fmt.Sprintf("N = '%s', %s", m.n.Name(), expr)), expr)
	}
	for _, name := range []string{"global_name_server", "pg", "cnode_global_locker", "net_kernel", "rex"} {
		is("running", fmt.Sprintf(`{status, P, {module, gen_server}, [_, Is, _, _, [{header, _} | _]]} = sys:get_status({%s, N}),
			N = node(P), Is`, name))
		is("{error,{unknown_system_msg,suspend}}", fmt.Sprintf(`sys:suspend({%s, N})`, name))
		is("unknown_debug", fmt.Sprintf(`sys:trace({%s, N}, true)`, name))
	}
	state := `(fun({ok, S}) -> S; (S) -> S end)` // releases before OTP 26.1 show {ok, State}
	is("true", state+`(sys:get_state({global_name_server, N})) =:= {state, true, #{node() => 8}, [node()]}`)
	is("{pg,0}", `#{scope := Of, local := Count} = `+state+`(sys:get_state({pg, N})), {Of, Count}`)
	is("{error,{unknown_system_msg,get_state}}", `{ok, E} = gen:call({net_kernel, N}, system, get_state, 5000), E`)

	// see rabbit_node_monitor:unblock_global_peer/1
	is("true", `S = erpc:call(N, sys, get_state, [global_name_server]), is_map(element(3, S))`)
	is("true", `{status, P, _, [[] | _]} = erpc:call(N, sys, get_status, [global_name_server]), N =:= node(P)`)
	is("true", `{_, {'EXIT', {noproc, {sys, get_state, [nobody]}}}} = rpc:call(N, sys, get_state, [nobody]), true`)
}
