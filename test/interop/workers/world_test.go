//go:build linux

package workers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/test/otp"
	"github.com/stretchr/testify/require"
)

// limit is for what takes milliseconds, unless something is broken.
const limit = 30 * time.Second

// The program cnode-demo, built once.
var built struct {
	sync.Mutex
	dir string
}

func removeBuilt() { os.RemoveAll(built.dir) }

func demo(t *testing.T) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	path := filepath.Join(built.dir, "cnode-demo")
	if built.dir != "" {
		return path
	}
	dir, err := os.MkdirTemp("", "cnode-workers-")
	require.NoError(t, err)
	built.dir, path = dir, filepath.Join(dir, "cnode-demo")
	args := []string{"build", "-race", "-o", path, "github.com/cnode-go/cnode/cmd/cnode-demo"}
	if cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output(); err == nil && strings.TrimSpace(string(cgo)) == "0" {
		args = append(args[:1], args[2:]...) // the race detector needs a C compiler
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// A cluster is a node with three workers, and three Erlang nodes, each with its connection at another worker.
type cluster struct {
	*otp.Program
	port  int
	erl   []*otp.Node
	at    []int // the worker of each
	toEnd bool
}

const nodeName = "many@127.0.0.1"

// newCluster starts one; cmd gives the program, which must call itself nodeName.
func newCluster(t *testing.T, r otp.Release, cmd func() *exec.Cmd) *cluster {
	t.Helper()
	c := &cluster{port: r.Epmd(t)}
	command := cmd()
	command.Env = append(command.Env, "HOME="+t.TempDir(), "PATH="+os.Getenv("PATH"), "TMPDIR="+os.Getenv("TMPDIR"), "GORACE=halt_on_error=1 atexit_sleep_ms=0",
		"ERL_EPMD_PORT="+strconv.Itoa(c.port), "ERL_EPMD_ADDRESS=127.0.0.1")
	c.Program = otp.Serve(t, command)
	t.Cleanup(func() {
		if !c.toEnd {
			c.signal(t, c.Pid(), syscall.SIGTERM)
			select {
			case <-c.Done():
			case <-time.After(limit):
				t.Error("the node does not end after SIGTERM")
			}
		}
		if log := c.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
			t.Errorf("the node says:\n%s", log)
		}
	})
	for range 3 {
		e := r.Start(t, otp.Options{EpmdPort: c.port, ExtraArgs: []string{"-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"}})
		c.erl = append(c.erl, e)
		c.at = append(c.at, c.worker(t, e))
	}
	require.NotContains(t, c.at, c.Pid())
	require.Len(t, map[int]bool{c.at[0]: true, c.at[1]: true, c.at[2]: true}, 3, "three workers: %v", c.at)
	return c
}

func serveDemo(t *testing.T) func() *exec.Cmd {
	return func() *exec.Cmd {
		return exec.Command(demo(t), "serve", "--name", nodeName, "--cookie", otp.DefaultCookie, "--workers", "3", "--dispatch", "least", "--log-level", "info")
	}
}

func serveOwn(t *testing.T) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{envServe + "=" + nodeName}
		return cmd
	}
}

func (c *cluster) signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, s))
}

// worker is the process that serves a node's connection.
func (c *cluster) worker(t *testing.T, e *otp.Node) int {
	t.Helper()
	text := eval(t, e, `case rpc:call(N, cnode, pid, []) of {badrpc, {'EXIT', _}} -> rpc:call(N, w, pid, []); V -> V end`)
	pid, err := strconv.Atoi(text)
	require.NoError(t, err, text)
	return pid
}

// eval evaluates an expression in which N stands for the name of the node under test.
func eval(t *testing.T, e *otp.Node, expr string, args ...any) string {
	t.Helper()
	return e.Eval(t, about(expr, args...))
}

func about(expr string, args ...any) string {
	return "N = '" + nodeName + "', " + fmt.Sprintf(expr, args...)
}

// is checks the value of an expression.
func is(t *testing.T, e *otp.Node, want, expr string, args ...any) {
	t.Helper()
	require.Equal(t, want, eval(t, e, expr, args...), expr)
}

// each runs f for every release.
func each(t *testing.T, f func(t *testing.T, r otp.Release)) {
	t.Helper()
	otp.Each(t, f)
}

// descriptors counts those of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
