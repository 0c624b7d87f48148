package console

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/observer"
)

// The level of the log by rpc:call: what logger answers is what it answers of its own node.
func TestLogLevel(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		level := new(slog.LevelVar)
		begin := func(name string, rules ...nodes.Rule) *nodes.Node {
			n := start(t, name, port, console.Options{}, rules...)
			require.NoError(t, console.Serve(n, &console.Options{Level: level}))
			require.NoError(t, observer.Serve(n, nil))
			return n
		}
		n := begin("go" + r.String() + "@127.0.0.1")
		erl := r.Start(t, otp.Options{EpmdPort: port})
		is := func(want, expr string) {
			t.Helper()
			require.Equal(t, want, erl.Do(t, fmt.Sprintf("N = '%s', L = fun(F, A) -> rpc:call(N, logger, F, A) end, %s", n.Name(), expr)), expr)
		}
		is("{info,ok,debug}", `#{level := Was} = L(get_primary_config, []), Ok = L(set_primary_config, [level, debug]),
			#{level := Is} = L(get_primary_config, []), {Was, Ok, Is}`)
		require.Equal(t, slog.LevelDebug, level.Level())
		is("ok", `L(set_primary_config, [#{level => error}])`)
		require.Equal(t, slog.LevelError, level.Level())
		levels := "[all, debug, info, notice, warning, error, critical, alert, emergency, none]"
		is("true", `Ls = `+levels+`,
			Ls =:= [begin ok = L(set_primary_config, [level, X]), maps:get(level, L(get_primary_config, [])) end || X <- Ls]`)
		// whatever is set, here and there
		is("[]", `Same = fun(A) -> apply(logger, set_primary_config, A) =:= L(set_primary_config, A) andalso
				logger:get_primary_config() =:= L(get_primary_config, []) end,
			[A || A <- [[level, warning], [level, foo], [foo, bar], [#{level => foo}], [#{foo => 1}], [#{level => debug}], [1],
				[filters, foo], [level, 1],
				[#{level => debug, metadata => #{}, filters => [], filter_default => log}], [#{}]], not Same(A)]`)
		is("{error,{invalid_metadata,#{a => 1}}}", `L(set_primary_config, [metadata, #{a => 1}])`)

		// console.Rules let a peer do so, unless the command is refused; those of observer do not
		may := func(want string, rules ...nodes.Rule) {
			t.Helper()
			n := begin(fmt.Sprintf("rules%s@127.0.0.1", r), append(rules, nodes.Rule{})...)
			defer n.Close()
			level.Set(slog.LevelWarn)
			require.Equal(t, want, erl.Do(t, fmt.Sprintf(`case rpc:call('%s', logger, set_primary_config, [level, debug]) of
				{_, {'EXIT', {Why, _}}} -> Why; Ok -> Ok end`, n.Name())))
			require.Equal(t, want == "ok", level.Level() == slog.LevelDebug)
		}
		may("ok", console.Rules("n*@*")...)
		may("eacces", observer.Rules("n*@*")...)
		may("ok", append(observer.Rules("n*@*"), console.Rules("n*@*")...)...)
		may("eacces", append([]nodes.Rule{{Permission: nodes.MayCall, Target: "console:level"}}, console.Rules("n*@*")...)...)
		may("eacces", console.Rules("other@*")...)
	})
}
