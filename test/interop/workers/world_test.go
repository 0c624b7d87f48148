//go:build linux

package workers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/party"
)

// limit is for what takes milliseconds, unless something is broken.
const limit = 2 * time.Minute

var demo = otp.Demo{Race: true}

// A lab is the real nodes of a release, which all tests use, one after the other.
type lab struct {
	port  int
	stop  func()
	nodes []*otp.Node // three, and one to spare
}

var labs struct {
	sync.Mutex
	of map[string]*lab
}

func removeLabs() {
	for _, l := range labs.of {
		l.close()
	}
}

func (l *lab) close() {
	for _, e := range l.nodes {
		e.Close()
	}
	l.stop()
}

// labOf gives the nodes of a release, as if they had just been started.
func labOf(t *testing.T, r otp.Release) *lab {
	t.Helper()
	labs.Lock()
	defer labs.Unlock()
	l := labs.of[r.String()]
	if l == nil {
		l = startLab(t, r, "")
		if labs.of == nil {
			labs.of = map[string]*lab{}
		}
		labs.of[r.String()] = l
	}
	for _, e := range l.nodes {
		eval(t, e, `[disconnect_node(X) || X <- nodes(connected)], Flush = fun(F) -> receive _ -> F(F) after 0 -> ok end end, Flush(Flush)`)
	}
	t.Cleanup(func() {
		for _, e := range l.nodes {
			if t.Failed() {
				t.Logf("%s said:\n%s", e.Name(), e.Log())
			}
		}
	})
	return l
}

// startLab starts nodes, over TLS if there is an option file.
func startLab(t *testing.T, r otp.Release, conf string) *lab {
	t.Helper()
	l := &lab{}
	var err error
	l.port, l.stop, err = r.LaunchEpmd()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	defer cancel()
	started := make(chan *otp.Node)
	failed := make(chan error)
	number := 4
	if conf != "" {
		number = 3
	}
	for range number {
		go func() {
			e, err := r.Launch(ctx, otp.Options{
				EpmdPort: l.port, TLSOptFile: conf, ExtraArgs: []string{"-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"},
			})
			if err != nil {
				failed <- err
				return
			}
			started <- e
		}()
	}
	for range number {
		select {
		case e := <-started:
			l.nodes = append(l.nodes, e)
		case e := <-failed:
			err = e
		}
	}
	if err != nil {
		l.close()
	}
	require.NoError(t, err)
	return l
}

// A cluster is a node with three workers, and three Erlang nodes, each with its connection at
// another worker.
type cluster struct {
	*otp.Program
	port  int
	env   []string
	erl   []*otp.Node
	spare *otp.Node
	at    []int // the worker of each
	front int
	toEnd bool
}

const nodeName = "many@127.0.0.1"

// newCluster starts one; cmd gives the program, which must call itself nodeName.
func newCluster(t *testing.T, r otp.Release, cmd func() *exec.Cmd) *cluster {
	t.Helper()
	l := labOf(t, r)
	c := newClusterIn(t, l, cmd())
	c.spare = l.nodes[3]
	return c
}

func newClusterIn(t *testing.T, l *lab, command *exec.Cmd) *cluster {
	t.Helper()
	c := &cluster{port: l.port, erl: l.nodes[:3]}
	c.env = gonode.Environment(t, c.port)
	command.Env = append(command.Env, c.env...)
	c.Program = otp.Serve(t, command)
	c.front = c.Pid()
	t.Cleanup(func() {
		if !c.toEnd {
			c.signal(t, c.front, syscall.SIGTERM)
			require.Eventually(t, func() bool { return party.Ended(c.front) }, limit, 10*time.Millisecond, "the node does not end after SIGTERM")
		}
		if log := c.Log(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
			t.Errorf("the node says:\n%s", log)
		}
	})
	for _, e := range c.erl {
		for begun := time.Now(); ; eval(t, e, `disconnect_node(N)`) {
			join(t, e)
			at := c.worker(t, e)
			if !slices.Contains(c.at, at) { // else a worker that was slow was passed over
				c.at = append(c.at, at)
				break
			}
			require.Less(t, time.Since(begun), limit, "three workers: %v", c.at)
		}
	}
	require.NotContains(t, c.at, c.Pid())
	require.Len(t, map[int]bool{c.at[0]: true, c.at[1]: true, c.at[2]: true}, 3, "three workers: %v", c.at)
	return c
}

func serveDemo(t *testing.T) func() *exec.Cmd {
	return func() *exec.Cmd {
		return exec.Command(demo.Path(t), "serve", "--name", nodeName, "--cookie", otp.DefaultCookie, "--workers", "3", "--dispatch", "least",
			"--log-level", "info")
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

// worker gives the id of the process that serves a node's connection.
func (c *cluster) worker(t *testing.T, e *otp.Node) int {
	t.Helper()
	text := eval(t, e, `case rpc:call(N, cnode, pid, []) of {badrpc, {'EXIT', _}} -> rpc:call(N, w, pid, []); V -> V end`)
	pid, err := strconv.Atoi(text)
	require.NoError(t, err, text)
	return pid
}

// join connects a node. On a busy machine the connection may be lost before a slow worker has it;
// then the node tries again.
func join(t *testing.T, e *otp.Node) {
	t.Helper()
	require.Eventually(t, func() bool { return eval(t, e, `net_adm:ping(N)`) == "pong" }, limit, 10*time.Millisecond)
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

// descriptors counts those of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(entries)
}
