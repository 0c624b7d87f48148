package interop

import (
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/stretchr/testify/require"
)

// A peer that knows the cookie asks in the name of a process of an Erlang node, with terms that a runtime system refuses. The Erlang node's
// connection with ours lives on, and what it does not refuse arrives.
func TestAnswersToThirdNodes(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		m := &meeting{erl: start(t, r, otp.Options{EpmdPort: port}), n: startNode(t, config(port))}
		_, err := m.n.Serve("srv", nodes.Server{}, nil)
		require.NoError(t, err)
		victim := m.pid(t, "spawn(fun() -> register(victim, self()), F = fun F(L) -> receive {get, P} -> P ! {self(), L}, F(L); M -> F([M | L]) end end, F([]) end)")
		c := m.n.Conn(m.erl.Name())
		require.NotNil(t, c)

		liar := newNode(t, config(port))
		lc, err := liar.Connect(background(t), m.n.Name())
		require.NoError(t, err)
		ask := func(tag ei.Term) {
			require.NoError(t, lc.SendName(background(t), "srv", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{victim, tag}, ei.Atom("x")}))
		}
		for _, tag := range []ei.Raw{
			{117, 0, 0, 0, 0, 88, 119, 3, 'a', '@', 'b', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 119, 1, 'm', 97, 1, 97, 1}, // FUN_EXT
			append(ei.Raw{111, 0, 128, 0, 0, 0}, make(ei.Raw, 1<<23)...),                                                // over every release's limit
			{114, 0, 1, 119, 3, 'a', '@', 'b', 77, 0, 0, 0, 1},                                                          // an old reference with a large creation
			{77, 0, 0, 0, 0, 0},
			{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2}, // equal keys
		} {
			ask(tag)
		}
		ask(ei.Atom("good"))
		require.Eventually(t, func() bool { return m.eval(t, "victim ! {get, self()}, receive {_, L} -> length(L) end") == "1" }, limit, time.Millisecond)
		m.is(t, [][2]string{{"victim ! {get, self()}, receive {_, L} -> L end", "[{good,{error,<<\"the server takes no calls\">>}}]"}})
		require.NoError(t, c.Err())
		require.Same(t, c, m.n.Conn(m.erl.Name()))
	})
}
