package global

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// Whoever calls a process that the packages have, with a request that it does not know, hears so at
// once, in each form of a call, and the process goes on.
func unknownCalls(t *testing.T, erl *otp.Node) {
	m := member{}
	cfg := config(t, uniqueName("g"), erl.EpmdPort())
	cfg.Setup = func(n *nodes.Node) (err error) {
		if _, err = pg.Start(t.Context(), n, "", nil); err != nil {
			return err
		}
		ps, err := pubsub.Start(t.Context(), n, "MyApp.PubSub", nil)
		if err != nil {
			return err
		}
		if _, err = ps.StartPresence(t.Context(), "MyApp.Presence", nil); err != nil {
			return err
		}
		m.Global, err = global.Start(t.Context(), n, nil)
		return err
	}
	m.n = gonode.Start(t, cfg)
	m.connect(t, erl)
	meet(t, []member{m}, []*otp.Node{erl})
	for _, name := range []string{"global_name_server", "cnode_global_locker", "pg", "'Elixir.Phoenix.PubSub'",
		"'Elixir.MyApp.PubSub.Adapter'", "'Elixir.MyApp.Presence_shard0'"} {
		box := m.n.Whereis(strings.Trim(name, "'"))
		for _, request := range []string{"what", "{what, 1}", "{}", "<<0:80000>>", "#{what => [1.5]}", "fun lists:map/2"} {
			calls := fmt.Sprintf(`To = {%s, '%s'}, R = %s, E = {error, unknown_request}, E = gen_server:call(To, R),
				{ok, E} = gen:call(To, '$gen_call', R, infinity), {[{_, E}], []} = gen_server:multi_call([element(2, To)], element(1, To), R),
				{reply, E} = gen_server:wait_response(gen_server:send_request(To, R), 5000), E`, name, m.n.Name(), request)
			require.Equal(t, "{error,unknown_request}", erl.Do(t, calls), "%s: %s", name, request)
		}
		require.NoError(t, box.Err(), name)
	}
	meet(t, []member{m}, []*otp.Node{erl})
}
