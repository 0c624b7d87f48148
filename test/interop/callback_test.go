package interop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// callbacks is how many calls are made at once.
const callbacks = 20_000

// callbackModule is the part of the nodes in Erlang: m:back/4 is what the Go node exposes, too.
const callbackModule = `
-module(m).
-export([back/4, echo/1, at_once/3]).
back(Node, M, F, A) -> rpc:call(Node, M, F, A).
echo(X) -> X.
%% at_once makes N calls at once, and gives how many of each result there were, and the milliseconds.
at_once(N, Node, Args) ->
    Begin = erlang:monotonic_time(millisecond),
    Callers = [spawn_monitor(fun() ->
        exit(try erpc:call(Node, m, back, Args, 100000) catch _:{_, Why} -> Why; _:Why -> Why end)
    end) || _ <- lists:seq(1, N)],
    Results = [receive {'DOWN', R, _, _, Result} -> Result end || {_, R} <- Callers],
    Counts = lists:foldl(fun(R, C) -> maps:update_with(R, fun(I) -> I + 1 end, 1, C) end, #{}, Results),
    {Counts, erlang:monotonic_time(millisecond) - Begin}.
`

// Functions of Go call the node of their caller back, 20,000 at once: functions of Erlang there,
// and through these functions of Go again.
func TestCallbacks(t *testing.T) {
	need.Long(t, 60*time.Second)
	otp.Each(t, func(t *testing.T, r otp.Release) {
		m := newMeeting(t, r)
		other := start(t, r, otp.Options{EpmdPort: m.erl.EpmdPort()})
		for _, n := range []*otp.Node{m.erl, other} {
			n.Load(t, callbackModule)
		}
		m.n.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
		m.n.Expose("m", "back", func(ctx context.Context, args []ei.Term) (any, error) {
			list, _ := ei.Elements(args[3])
			more := make([]any, len(list))
			for i, a := range list {
				more[i] = a
			}
			return m.n.RPC(ctx, string(args[0].(ei.Atom)), string(args[1].(ei.Atom)), string(args[2].(ei.Atom)), more...)
		})
		for _, tt := range []struct{ name, args string }{
			{"and forth", "[node(), rpc, call, [%s, m, echo, [ok]]]"},
			{"once", "[node(), m, echo, [ok]]"},
		} {
			for kind, name := range map[string]string{"Go": m.n.Name(), "a BEAM": other.Name()} {
				args := tt.args
				if tt.name == "and forth" {
					args = fmt.Sprintf(args, "'"+name+"'")
				}
				var ok, ms int
				got := m.erl.Eval(t, fmt.Sprintf("{C, MS} = m:at_once(%d, '%s', %s), {maps:to_list(C), MS}", callbacks, name, args))
				_, err := fmt.Sscanf(got, "{[{ok,%d}],%d}", &ok, &ms)
				require.NoError(t, err, "%s %s: %s", kind, tt.name, got)
				require.Equal(t, callbacks, ok, kind)
				t.Logf("%d calls of %s, which calls back %s: %d ms", callbacks, kind, tt.name, ms)
			}
		}
		require.Zero(t, m.n.Stats().CallsRefused)
	})
}
