//go:build linux

package workers

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/party"
)

// Real nodes send numbered messages without a pause, which come back, while front and workers go on
// in new processes: no nodedown, no gap, no repeat.
func TestUpgraded(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) { upgraded(t, newCluster(t, r, serveDemo(t)), 3) })
}

// talk sends numbers to a process of the node, with 100 of them on their way at a time, until it is
// told to stop, and gives how many it has sent.
const talk = `erlang:monitor_node(N, true), true = register(talker, self()),
	Talk = fun(Talk, I, J, Stop) ->
		if
			Stop, I =:= J -> {ok, I};
			not Stop, I - J < 100 ->
				To ! {echo, self(), I},
				receive stop -> Talk(Talk, I + 1, J, true) after 0 -> Talk(Talk, I + 1, J, false) end;
			true ->
				receive stop -> Talk(Talk, I, J, true); J -> Talk(Talk, I, J + 1, Stop); X -> {came, X, due, J} after 20000 -> {missing, J, I} end
		end
	end,
	Done = Talk(Talk, 0, 0, false), unregister(talker), erlang:monitor_node(N, false), Done`

func upgraded(t *testing.T, c *cluster, times int) {
	t.Helper()
	for _, e := range c.erl {
		require.Eventually(t, func() bool { return eval(t, e, `is_pid(rpc:call(N, erlang, whereis, [peer]))`) == "true" }, limit,
			10*time.Millisecond)
	}
	// The third node's messages go to a process of the second one's worker.
	to := []string{`{peer, N}`, `rpc:call(N, erlang, whereis, [peer])`,
		fmt.Sprintf(`rpc:call('%s', rpc, call, [N, erlang, whereis, [peer]])`, c.erl[1].Name())}
	var done []func() string
	for i, e := range c.erl {
		done = append(done, e.Async(t, about(`To = %s, `, to[i])+talk))
	}
	for _, e := range c.erl {
		require.Eventually(t, func() bool { return eval(t, e, `is_pid(whereis(talker))`) == "true" }, limit, 10*time.Millisecond)
	}
	for range times {
		before := append([]int{c.front}, c.at...)
		c.upgrade(t)
		for i, e := range c.erl {
			now := c.worker(t, e)
			require.NotContains(t, before, now)
			c.at[i] = now
		}
		require.Len(t, map[int]bool{c.at[0]: true, c.at[1]: true, c.at[2]: true}, 3, "three workers: %v", c.at)
		for _, pid := range before {
			require.Eventually(t, func() bool { return party.Ended(pid) }, limit, 10*time.Millisecond)
		}
	}
	for i, e := range c.erl {
		eval(t, e, `talker ! stop`)
		got := done[i]()
		require.Regexp(t, `^\{ok,[1-9][0-9]+\}$`, got, c.Log())
	}
}

// upgrade makes the node go on in new processes.
func (c *cluster) upgrade(t *testing.T) {
	t.Helper()
	cmd := exec.Command(demo.Path(t), "upgrade", nodeName)
	var out, errOut bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &errOut
	require.NoError(t, cmd.Run(), "%s%s\n%s", out.String(), errOut.String(), c.Log())
	words := strings.Fields(out.String())
	require.Len(t, words, 4, out.String())
	require.Equal(t, []string{"upgraded", nodeName, strconv.Itoa(c.front)}, words[:3])
	var err error
	c.front, err = strconv.Atoi(words[3])
	require.NoError(t, err)
}
