package supervise

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// got is what sys:get_state and replace_state return of a state: OTP before 26.1 does not take the
// answer of a later one apart.
func got(r otp.Release, state string) string {
	if r.Number < 26 {
		return "{ok," + state + "}"
	}
	return state
}

// bind is an expression with the Go node's name as N and its server as S.
func bind(n *nodes.Node, expr string) string {
	return "N = '" + n.Name() + "', S = {pricing, N}, _ = {N, S}, " + expr
}

// Module sys, and gen_server:stop, do with a Go server what they do with a gen_server.
func TestSys(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		erl := r.Start(t, otp.Options{})
		n, log := start(t, erl.EpmdPort(), nil)
		pricing, err := n.Serve("pricing", newPricing(), nil)
		require.NoError(t, err)
		for _, tt := range [][2]string{
			{`gen_server:call(S, {add, 5})`, `5`},
			{`sys:get_state(S)`, got(r, `5`)},
			{`sys:replace_state(S, fun(X) -> X * 10 end)`, got(r, `50`)},
			{`sys:get_state(S, 5000)`, got(r, `50`)},
			{`try sys:replace_state(S, fun(_) -> no_number end) catch error:{callback_failed, _, {error, {go_error, T}}} -> is_binary(T) end`,
				`true`},
			{`{status, P, {module, gen_server}, [PDict, running, Parent, [], Misc]} = sys:get_status(S), ` +
				`{is_pid(P), P =:= Parent, PDict, [{proplists:get_value("State", D)} || {data, D} <- Misc, lists:keymember("State", 1, D)]}`,
				`{true,true,[],[{50}]}`},
			{`{status, _, _, [_, _, _, _, [{header, H} | _]]} = sys:get_status(S), H`, `"Status for generic server pricing"`},
			{`sys:statistics(S, true)`, `ok`},
			{`sys:log(S, true)`, `ok`},
			{`sys:trace(S, true)`, `ok`},
			{`gen_server:call(S, {add, 1})`, `51`},
			{`gen_server:cast(S, {add, 1}), gen_server:call(S, {add, 0})`, `52`},
			{`{ok, L} = sys:statistics(S, get), {[proplists:get_value(K, L) || K <- [messages_in, messages_out]], ` +
				`calendar:datetime_to_gregorian_seconds(proplists:get_value(start_time, L)) > 0}`, `{[3,2],true}`},
			{`{ok, E} = sys:log(S, get), [case X of {in, {'$gen_call', _, R}} -> R; {in, {'$gen_cast', R}} -> {cast, R};
			{out, R, P} when is_pid(P); is_reference(P) -> R end || X <- E]`,
				`[{add,1},51,{cast,{add,1}},{add,0},52]`},
			{`sys:no_debug(S)`, `ok`},
			{`sys:suspend(S)`, `ok`},
			{`try gen_server:call(S, {add, 1}, 50) catch exit:{timeout, _} -> timeout end`, `timeout`},
			{`{status, _, _, [_, Status | _]} = sys:get_status(S), Status`, `suspended`},
			{`sys:get_state(S)`, got(r, `52`)},
			{`sys:resume(S)`, `ok`},
			{`gen_server:call(S, {add, 0})`, `53`},
			{`sys:suspend(S), R = sys:change_code(S, m, undefined, x), sys:resume(S), element(1, R)`, `error`},
			{`sys:install(S, {fun(_, _, _) -> done end, x})`, `unknown_debug`},
			{`sys:log_to_file(S, "/tmp/x")`, `{error,open_file}`},
			{`gen_server:stop(S)`, `ok`},
			{`try gen_server:stop(S) catch exit:R -> R end`, `noproc`},
		} {
			require.Equal(t, tt[1], erl.Eval(t, bind(n, tt[0])), tt[0])
		}
		require.Equal(t, "normal", reason(pricing))
		require.Contains(t, log(), "message in", "the trace")
		require.Contains(t, log(), "message out")
	})
}

func reason(b *nodes.Mailbox) string {
	var ended *nodes.ExitError
	if errors.As(b.Err(), &ended) {
		return ended.Reason.String()
	}
	return "it lives"
}

// A Go supervisor is a supervisor to stdlib's functions, and to those that are linked with it.
func TestGoSupervisor(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		erl := r.Start(t, otp.Options{})
		n, log := start(t, erl.EpmdPort(), func(n *nodes.Node) error {
			_, err := supervisor.Start(t.Context(), n, "shop", &supervisor.Options{Intensity: 2, Period: time.Hour},
				supervisor.Server("stock", newPricing, nil), supervisor.Server("pricing", newPricing, nil),
				supervisor.Sub("low", nil, supervisor.Server("deep", newPricing, nil)))
			return err
		})
		for _, tt := range [][2]string{
			{`[{I, is_pid(P), T, M} || {I, P, T, M} <- supervisor:which_children(Sup)]`,
				`[{low,true,supervisor,[]},{pricing,true,worker,[]},{stock,true,worker,[]}]`},
			{`supervisor:count_children(Sup)`, `[{specs,3},{active,3},{supervisors,1},{workers,2}]`},
			{`[{_, Low, _, _} | _] = supervisor:which_children(Sup), [I || {I, _, _, _} <- supervisor:which_children(Low)]`, `[deep]`},
			{`{ok, C} = supervisor:get_childspec(Sup, stock), maps:with([id, restart, shutdown, type], C)`,
				`#{id => stock,restart => permanent,shutdown => 5000,type => worker}`},
			{`supervisor:terminate_child(Sup, pricing)`, `ok`},
			{`[I || {I, undefined, _, _} <- supervisor:which_children(Sup)]`, `[pricing]`},
			{`element(1, supervisor:restart_child(Sup, pricing))`, `ok`},
			{`supervisor:restart_child(Sup, pricing)`, `{error,running}`},
			{`supervisor:delete_child(Sup, pricing)`, `{error,running}`},
			{`supervisor:terminate_child(Sup, pricing), supervisor:delete_child(Sup, pricing)`, `ok`},
			{`supervisor:terminate_child(Sup, pricing)`, `{error,not_found}`},
			{`element(1, element(2, supervisor:start_child(Sup, #{id => x, start => {m, f, []}})))`, `not_supported`},
			{`maps:with([strategy, intensity], case sys:get_state(Sup) of {ok, State} -> State; State -> State end)`,
				`#{intensity => 2,strategy => one_for_one}`},
			{`element(1, sys:get_status(Sup))`, `status`},
			{`catch gen_server:call({stock, N}, bug), catch gen_server:call({stock, N}, bug), ` +
				`[P] = [P || {stock, P, _, _} <- supervisor:which_children(Sup)], is_pid(P)`, `true`},
			{`process_flag(trap_exit, true), {status, P, _, _} = sys:get_status(Sup), link(P), M = monitor(process, P), ` +
				`(fun F() -> catch gen_server:call({stock, N}, bug), ` + // which is not there while it is started again
				`receive {'EXIT', P, R} -> receive {'DOWN', M, _, _, R2} -> {R, R2} end after 50 -> F() end end)()`,
				`{shutdown,shutdown}`},
		} {
			require.Equal(t, tt[1], erl.Eval(t, bind(n, "Sup = {shop, N}, "+tt[0])), tt[0])
		}
		require.Eventually(t, func() bool { return n.Whereis("deep") == nil && n.Whereis("stock") == nil }, expect.Limit, time.Millisecond)
		for _, report := range []string{"supervisor report: child_terminated", "go_panic", "reached_max_restart_intensity"} {
			require.Contains(t, log(), report)
		}
	})
}
