package processes

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/scarce"
)

// peak is the most memory that a process has had, in bytes: see proc_pid_status(5).
func peak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return n << 10
}

// A function that is slower than an Erlang node which floods it leaves memory to other programs,
// and gets all that is sent if it may hold that node's connection; one that does not receive at all
// ends. That is so on a large machine and within a control group that is small.
func TestFloodOfASlowFunction(t *testing.T) {
	t.Parallel()
	const name, group = "slow@127.0.0.1", 512 << 20
	for where, most := range map[string]int{"machine": 1 << 30, "group": group} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			if where == "group" {
				cmd = scarce.Memory(t, group, os.Args[0])
			}
			releases := otp.Releases(t)
			r := releases[len(releases)-1]
			port := r.Epmd(t)
			cmd.Env = append(os.Environ(), envSlow+"="+name, "ERL_EPMD_PORT="+strconv.Itoa(port), "ERL_EPMD_ADDRESS=127.0.0.1")
			p := otp.Serve(t, cmd)
			erl := r.Start(t, otp.Options{EpmdPort: port})
			flood := func(fun string, args string) string {
				return erl.Eval(t, fmt.Sprintf(`{P, R} = spawn_monitor('%s', slow, %s, [%s]), B = binary:copy(<<0>>, 20000),
					S = spawn(fun F() -> P ! B, F() end), receive {'DOWN', R, process, P, Why} -> exit(S, kill), Why end`, name, fun, args))
			}
			require.Equal(t, "normal", flood("reader", "50000"))
			t.Logf("%d MB", peak(t, p.Pid())>>20)
			require.Less(t, peak(t, p.Pid()), most)
			require.Equal(t, "mailbox_full", flood("deaf", ""))
			require.Equal(t, "mailbox_full", flood("narrow", ""))
			require.Eventually(t, func() bool {
				return erl.Eval(t, fmt.Sprintf("rpc:call('%s', slow, overflow, [])", name)) == "0"
			}, limit, tick)
			t.Logf("%d MB", peak(t, p.Pid())>>20)
			require.Less(t, peak(t, p.Pid()), most)
		})
	}
}
