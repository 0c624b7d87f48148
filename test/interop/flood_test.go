package interop

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

// A process that is slow does not hold the link of the Erlang node that floods it: what that node
// sends fits, or the process ends. Calls to other processes return meanwhile, those of the node
// that floods and those of another one, and the node stops when it is told to.
func TestFloodOfASlowProcess(t *testing.T) {
	const (
		pause = 5 * time.Millisecond // that it takes for a message
		// most is what a call may take: two seconds that the process may hold the link, and what a busy
		// machine takes for a call. Where the link is held all the time it is minutes.
		most = 20 * time.Second
		size = 100
	)
	count := need.Fewer(150_000, 300_000)
	releases := otp.Releases(t)
	r := releases[len(releases)-1]
	port := r.Epmd(t)
	other := start(t, r, otp.Options{EpmdPort: port, Name: "other@127.0.0.1"})
	for name, limit := range map[string]int{"it fits": 0, "it does not": need.Fewer(4<<20, 16<<20)} {
		t.Run(name, func(t *testing.T) {
			cfg := config(port)
			cfg.OverflowLimit = limit
			m := &meeting{erl: start(t, r, otp.Options{EpmdPort: port}), n: startNode(t, cfg)}
			slow, err := m.n.Serve("slow", nodes.Server{Info: func(ctx context.Context, _ *nodes.Mailbox, m *nodes.Message) {
				m.Release()
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}}, nil)
			require.NoError(t, err)
			_, err = m.n.Serve("echo", nodes.Server{On: map[string]nodes.Func{"": nodes.FuncOf(func(s string) string { return s })}}, nil)
			require.NoError(t, err)
			m.tell(t, "S", slow.Pid())
			// Worst calls while Is says so, and says how long a call took, in ms
			worst := `Calls = [fun() -> pong = net_adm:ping(N) end, fun() -> <<"x">> = gen_server:call({echo, N}, <<"x">>, infinity) end],
				Worst = fun F(Is, W) ->
					T = lists:max([W | [element(1, timer:tc(C)) || C <- Calls]]),
					case Is() of true -> F(Is, T); false -> T div 1000 end
				end, `
			calls := other.Async(t, fmt.Sprintf("N = '%s', ", m.n.Name())+worst+`persistent_term:put(goes_on, true),
				Worst(fun() -> persistent_term:get(goes_on) end, 0)`)
			got, err := strconv.Atoi(m.eval(t, worst+fmt.Sprintf(`B = binary:copy(<<0>>, %d),
				P = spawn(fun() -> [S ! B || _ <- lists:seq(1, %d)] end),
				Worst(fun() -> is_process_alive(P) end, 0)`, size, count)))
			require.NoError(t, err)
			require.Equal(t, "ok", other.Eval(t, `persistent_term:put(goes_on, false)`))
			others, err := strconv.Atoi(calls())
			require.NoError(t, err)
			stats := m.n.Stats()
			t.Logf("worst call %d ms, of the other node %d ms; %d MB kept beyond the limit", got, others, stats.Overflow>>20)
			require.Less(t, time.Duration(got)*time.Millisecond, most)
			require.Less(t, time.Duration(others)*time.Millisecond, most)
			if limit == 0 {
				require.NoError(t, slow.Err())
				require.Zero(t, stats.MailboxesFull)
				require.Less(t, stats.Overflow, 8*size*count)
				m.erl.Do(t, m.about(`spawn(fun F() -> S ! binary:copy(<<0>>, 1000), F() end)`)) // it goes on until the node ends
			} else {
				require.Equal(t, "mailbox_full", ended(t, slow))
			}
			m.erl.Stop(t)
		})
	}
}
