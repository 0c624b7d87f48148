package observer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// Observer lists 100,000 processes while another process calls a server there. The log has the
// milliseconds that the list took, of two tries, and those of the slowest call, beside the lists
// and beside nothing.
func TestManyProcesses(t *testing.T) {
	need.Long(t, 30*time.Second)
	otp.Each(t, func(t *testing.T, r otp.Release) {
		m := meet(t, r, nil)
		for range 100_000 {
			_, err := m.n.NewMailbox(nil)
			require.NoError(t, err)
		}
		t.Log(m.eval(`Slowest = fun(F) -> Me = self(),
				P = spawn(fun() -> (fun L(Most) ->
					{T, _} = timer:tc(fun() -> gen_server:call(Till, x) end),
					receive {stop, From} -> From ! {most, max(Most, T) / 1000} after 0 -> L(max(Most, T)) end end)(0) end),
				F(), P ! {stop, Me}, receive {most, M} -> M end end,
			List = fun() -> {T, Count} = timer:tc(fun() ->
				{P, R} = spawn_monitor(N, observer_backend, procs_info, [self()]),
				(fun L(C) -> receive {procs_info, P, Infos} -> L(C + length(Infos)); {'DOWN', R, _, _, _} -> C end end)(0) end),
				true = Count >= 100000, self() ! {took, T / 1000} end,
			Beside = [begin S = Slowest(List), receive {took, T} -> {T, S} end end || _ <- [1, 2]],
			{lists, Beside, nothing, Slowest(fun() -> timer:sleep(300) end)}`))
	})
}
