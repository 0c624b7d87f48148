//go:build linux

package discovery

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/workers"
)

// envServe makes this test's binary a node with workers, each of which keeps the nodes that it
// names.
const envServe = "CNODE_TEST_KEEP"

// serve runs a front, or its worker.
func serve(peers string) error {
	return gonode.Serve(workers.Config{Workers: 3, Node: nodes.Config{
		Name: "go@127.0.0.1", Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime,
		Setup: func(n *nodes.Node) error {
			k := discovery.KeepConnected(n, discovery.List(strings.Fields(peers)),
				&discovery.Options{MinDelay: 20 * time.Millisecond, MaxDelay: 200 * time.Millisecond})
			n.Expose("keep", "pid", nodes.FuncOf(os.Getpid))
			n.Expose("keep", "up", nodes.FuncOf(func() (up []ei.Atom) {
				for _, p := range k.Peers() {
					if p.Up {
						up = append(up, ei.Atom(p.Node))
					}
				}
				return up
			}))
			return nil
		},
	}}, nil)
}

// Each worker has a Keeper of the same nodes: each of these has one connection, which is all
// workers' own; when the worker that has it is killed, another one makes the next.
func TestKeepWithWorkers(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		var peers []*otp.Node
		var names []string
		for range 3 {
			erl := r.Start(t, otp.Options{EpmdPort: port})
			peers, names = append(peers, erl), append(names, erl.Name())
			erl.Eval(t, counting)
		}
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), envServe+"="+strings.Join(names, " "), "ERL_EPMD_PORT="+strconv.Itoa(port), "ERL_EPMD_ADDRESS=127.0.0.1")
		otp.Serve(t, cmd)
		// settled waits until every node's worker says that all are up, and gives the workers
		settled := func() (pids []int) {
			t.Helper()
			require.Eventually(t, func() bool {
				pids = nil
				for _, erl := range peers {
					up := erl.Eval(t, `case nodes(hidden) of [] -> none; _ -> length(rpc:call('go@127.0.0.1', keep, up, [])) end`)
					if up != "3" {
						return false
					}
					pid, err := strconv.Atoi(erl.Eval(t, `rpc:call('go@127.0.0.1', keep, pid, [])`))
					if err != nil {
						return false
					}
					pids = append(pids, pid)
				}
				return true
			}, expect.Limit, 20*time.Millisecond)
			return pids
		}
		news := func(erl *otp.Node) string { return erl.Eval(t, `watch ! {all, self()}, receive L -> L end`) }
		pids := settled()
		for _, erl := range peers {
			require.Equal(t, "{1,0}", news(erl))
		}
		require.NoError(t, syscall.Kill(pids[0], syscall.SIGKILL))
		require.Eventually(t, func() bool { return news(peers[0]) != "{1,0}" }, expect.Limit, 10*time.Millisecond)
		later := settled()
		require.NotContains(t, later, pids[0])
		for i, erl := range peers {
			if pids[i] == pids[0] {
				require.Equal(t, "{2,1}", news(erl))
			} else {
				require.Equal(t, "{1,0}", news(erl), "its worker lives")
				require.Equal(t, pids[i], later[i])
			}
		}
		require.Equal(t, "true", peers[1].Eval(t, `disconnect_node('go@127.0.0.1')`))
		settled()
	})
}
