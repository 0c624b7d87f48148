//go:build unix

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// The example service serves subscribers of a real node while it moves to a new process, forgets
// those that end, stays connected to its upstream node, and ends in good order.
func TestBoard(t *testing.T) {
	needsTCP(t, "the example says what it has")
	path := program(t, "examples/board")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: "secret"})
		cmd := exec.Command(path, "--upstream", erl.Name())
		cmd.Env = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", port))
		p := otp.Serve(t, cmd)
		const (
			node      = `'board@127.0.0.1'`
			board     = `{board, 'board@127.0.0.1'}`
			connected = `(fun F() -> lists:member('board@127.0.0.1', nodes(hidden)) orelse begin timer:sleep(5), F() end end)()`
			posts     = 1000
		)
		require.Equal(t, `true`, erl.Eval(t, connected), "it is the service that connects")

		require.Equal(t, `ok`, erl.Eval(t, `gen_server:call(`+board+`, {subscribe, self()})`))
		require.Equal(t, `ok`, erl.Eval(t, `gen_server:call(`+board+`, {subscribe, self()})`))
		require.Equal(t, `ok`, erl.Eval(t, `P = spawn(fun() -> receive stop -> ok end end), register(other, P),
			gen_server:call(`+board+`, {subscribe, P})`))
		require.Equal(t, `2`, erl.Eval(t, `gen_server:call(`+board+`, subscribers)`))
		require.Equal(t, `{error,<<"want {subscribe, Pid}, {unsubscribe, Pid} or subscribers">>}`,
			erl.Eval(t, `gen_server:call(`+board+`, {subscribe, me})`))

		require.Equal(t, `true`, erl.Eval(t, `erlang:monitor_node(`+node+`, true)`))
		posted := erl.Async(t, fmt.Sprintf(`[begin gen_server:cast(%s, {post, I}), timer:sleep(1) end || I <- lists:seq(1, %d)], ok`,
			board, posts))
		require.Equal(t, `received`, erl.Eval(t, `receive {board, 1, 1} -> received after 20000 -> nothing end`))
		require.NoError(t, syscall.Kill(p.Pid(), syscall.SIGHUP))
		select {
		case <-p.Done():
		case <-time.After(30 * time.Second):
			t.Fatal("the first process does not end")
		}
		require.Equal(t, `ok`, posted())
		require.Equal(t, `ok`, erl.Eval(t, fmt.Sprintf(
			`[receive {board, I, J} -> I = J after 20000 -> exit({lost, I}) end || I <- lists:seq(2, %d)], ok`, posts)))
		require.Equal(t, `none`, erl.Eval(t, `receive X -> X after 0 -> none end`), "nothing twice, and no nodedown")

		require.Equal(t, `true`, erl.Eval(t, `exit(whereis(other), kill)`))
		require.Equal(t, `1`, erl.Eval(t, `(fun F() -> case gen_server:call(`+board+`, subscribers) of 2 -> F(); N -> N end end)()`),
			"the new process has the monitor")
		require.Equal(t, `ok`, erl.Eval(t, `gen_server:call(`+board+`, {unsubscribe, self()})`))
		require.Equal(t, `0`, erl.Eval(t, `gen_server:call(`+board+`, subscribers)`))

		require.Equal(t, `true`, erl.Eval(t, `erlang:disconnect_node(`+node+`), receive {nodedown, `+node+`} -> true end`))
		require.Equal(t, `true`, erl.Eval(t, connected), "it connects again")
		require.Equal(t, `true`, erl.Eval(t, `erlang:monitor_node(`+node+`, true)`))
		told := regexp.MustCompile(`serving process=(\d+)`).FindAllStringSubmatch(p.Log(), -1)
		require.Len(t, told, 2, p.Log())
		successor, err := strconv.Atoi(told[1][1])
		require.NoError(t, err)
		require.NotEqual(t, p.Pid(), successor)
		require.NoError(t, syscall.Kill(successor, syscall.SIGTERM))
		require.Equal(t, `down`, erl.Eval(t, `receive {nodedown, `+node+`} -> down after 20000 -> up end`))
	})
}
