//go:build unix

package child

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// What the test's own program does in place of the tests, if this is set.
const variableMain = "CNODE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(variableMain) != "" {
		Main(func(n *nodes.Node) error {
			n.Expose("child", "pid", nodes.FuncOf(os.Getpid))
			n.Expose("child", "parent", nodes.FuncOf(Parent))
			return nil
		})
	}
	os.Exit(leak.Run(m))
}

// A house has a port mapper, and a node that asks.
type house struct {
	t       *testing.T
	n       *nodes.Node
	environ []string
}

func newHouse(t *testing.T) *house {
	h := &house{t: t}
	listeners, err := epmd.Listen(expect.Context(t), "127.0.0.1:0")
	require.NoError(t, err)
	server, ended := &epmd.Server{}, make(chan error, 1)
	go func() { ended <- server.Serve(listeners[0]) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	mapper := &nodes.PortMapper{Client: epmd.Client{Addr: listeners[0].Addr().String()}}
	h.n, err = nodes.New(nodes.Config{Name: "test@127.0.0.1", Cookie: "secret", Resolver: mapper})
	require.NoError(t, err)
	require.NoError(t, h.n.Start(expect.Context(t)))
	t.Cleanup(func() { h.n.Close() })
	_, port, err := net.SplitHostPort(listeners[0].Addr().String())
	require.NoError(t, err)
	h.environ = append(os.Environ(), variableMain+"=1", "ERL_EPMD_PORT="+port, "ERL_EPMD_ADDRESS=127.0.0.1", "XDG_RUNTIME_DIR="+t.TempDir(),
		variableNode+"=child@127.0.0.1", variableCookie+"=secret")
	return h
}

// A program is this one, as a child.
type program struct {
	*exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	log   *bytes.Buffer
	ready string
}

// start starts the program, and waits for its first line; "" if it ends.
func (h *house) start(environ ...string) *program {
	h.t.Helper()
	p := &program{Cmd: exec.Command(os.Args[0]), log: &bytes.Buffer{}}
	p.Env, p.Stderr = append(h.environ, environ...), p.log
	var err error
	p.in, err = p.StdinPipe()
	require.NoError(h.t, err)
	out, err := p.StdoutPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, p.Start())
	h.t.Cleanup(func() {
		_ = p.Process.Kill() // it may have ended
		_ = p.Wait()
		if h.t.Failed() {
			h.t.Logf("%s", p.log)
		}
	})
	p.out = bufio.NewReader(out)
	p.ready, _ = p.out.ReadString('\n')
	return p
}

// ends waits for the end, and gives the exit status.
func (p *program) ends() int {
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

func (h *house) pid() int {
	h.t.Helper()
	pid, err := nodes.RPCAs[int](expect.Context(h.t), h.n, "child@127.0.0.1", "child", "pid")
	require.NoError(h.t, err)
	return pid
}

const parented = variableParent + "=test@127.0.0.1"

// A child ends with its standard input, and on SIGTERM; SIGHUP is nothing to it.
func TestMainEnds(t *testing.T) {
	h := newHouse(t)
	for _, end := range []func(p *program) error{
		func(p *program) error { return p.in.Close() },
		func(p *program) error { return p.Process.Signal(syscall.SIGTERM) },
	} {
		p := h.start(parented, variableListen+"=127.0.0.1:0")
		require.True(t, strings.HasPrefix(p.ready, "ready child@127.0.0.1 127.0.0.1:"), p.ready)
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
		require.Equal(t, p.Process.Pid, h.pid())
		parent, err := nodes.RPCAs[string](expect.Context(t), h.n, "child@127.0.0.1", "child", "parent")
		require.NoError(t, err)
		require.Equal(t, "test@127.0.0.1", parent)
		require.NoError(t, end(p))
		require.Zero(t, p.ends())
		require.NotContains(t, p.log.String(), "time=")
	}
}

// Nobody's child does not look at its standard input.
func TestMainAlone(t *testing.T) {
	h := newHouse(t)
	p := h.start()
	require.NoError(t, p.in.Close())
	require.Equal(t, p.Process.Pid, h.pid())
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.ends())
	require.Contains(t, p.log.String(), "time=")
}

// The exit status says whether it is worth trying again.
func TestMainStatus(t *testing.T) {
	h := newHouse(t)
	p := h.start(parented)
	require.NotEmpty(t, p.ready)
	other := h.start(parented)
	require.Empty(t, other.ready)
	require.Equal(t, statusTaken, other.ends())
	require.Contains(t, other.log.String(), "level=ERROR")
	other = h.start(parented, variableNode+"=")
	require.Equal(t, 1, other.ends())
	require.Contains(t, other.log.String(), ErrNoName.Error())
	other = h.start(parented, variableListen+"=nowhere")
	require.Equal(t, 1, other.ends())
	require.Contains(t, other.log.String(), variableListen)
	require.Equal(t, p.Process.Pid, h.pid())
}

// What Config has counts more than the environment.
func TestConfigure(t *testing.T) {
	t.Setenv(variableNode, "env@127.0.0.1")
	t.Setenv(variableCookie, "theirs")
	t.Setenv(variableListen, "127.0.0.1:4000")
	t.Setenv(variableParent, "")
	t.Setenv(variableTakeOver, "1")
	u := &upgrade.Upgrader{}
	ctx, err := Configure(context.Background(), u)
	require.NoError(t, err)
	require.Equal(t, context.Background(), ctx)
	require.Equal(t, "env@127.0.0.1 theirs 127.0.0.1:4000", fmt.Sprint(u.Config.Name, " ", u.Config.Cookie, " ", u.Config.Listen))
	require.True(t, u.TakeOver)
	require.Equal(t, service.ControlPath("env@127.0.0.1"), u.Control)
	require.Nil(t, u.UpgradeOn)
	u = &upgrade.Upgrader{Config: nodes.Config{Name: "own@127.0.0.1", Cookie: "own"}, Control: "/own"}
	_, err = Configure(context.Background(), u)
	require.NoError(t, err)
	require.Equal(t, "own@127.0.0.1 own /own", u.Config.Name+" "+u.Config.Cookie+" "+u.Control)
	require.False(t, u.TakeOver, "the variable was for one")
	t.Setenv("CNODE_LINK", "/private")
	u = &upgrade.Upgrader{Config: nodes.Config{Name: "own@127.0.0.1", Cookie: "own",
		Listen: transport.UnixAddr("/own"), Transport: transport.TCP()}}
	_, err = Configure(context.Background(), u)
	require.NoError(t, err)
	require.Equal(t, "env@127.0.0.1 theirs", u.Config.Name+" "+u.Config.Cookie, "the parent knows no other")
	require.Nil(t, u.Config.Listen)
	require.Nil(t, u.Config.Transport)
	require.Equal(t, nodes.SocketDir("/private"), u.Config.Resolver)
	require.Equal(t, "/private/control", u.Control, "others may run a program of this name, too")
}
