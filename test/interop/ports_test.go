//go:build unix

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// A portDemo is the demo of examples/elixir or of examples/erlang, in a folder that is also in the
// root file systems that releases may be in.
type portDemo struct {
	t       *testing.T
	port    int
	service string
	command func(pathOrNode string) *exec.Cmd
}

func newPortDemo(t *testing.T, example string) (d *portDemo, dir string) {
	dir = t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("../../examples/"+example)))
	return &portDemo{t: t, port: otp.Epmd(t), service: program(t, "examples/service")}, dir
}

func (d *portDemo) environ(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(elixirEnviron(d.port), "HOME="+d.t.TempDir())
	return cmd
}

// starts runs the demo. Its standard input is a pipe that nobody writes to.
func (d *portDemo) starts(pathOrNode string) *exec.Cmd {
	d.t.Helper()
	cmd := d.environ(d.command(pathOrNode))
	out, err := os.Create(filepath.Join(d.t.TempDir(), "out"))
	require.NoError(d.t, err)
	d.t.Cleanup(func() { out.Close() })
	cmd.Stdout, cmd.Stderr = out, out
	_, err = cmd.StdinPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, cmd.Start())
	d.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if d.t.Failed() {
			d.t.Logf("the demo:\n%s", said(d.t, cmd))
		}
	})
	return cmd
}

func said(t *testing.T, cmd *exec.Cmd) string {
	text, err := os.ReadFile(cmd.Stdout.(*os.File).Name())
	require.NoError(t, err)
	return string(text)
}

// says waits until the demo has said something so many times.
func (d *portDemo) says(cmd *exec.Cmd, what string, times int) {
	d.t.Helper()
	enough := func() bool { return strings.Count(said(d.t, cmd), what) >= times }
	require.Eventually(d.t, enough, otp.HandshakeTime, 10*time.Millisecond, "%q, %d times", what, times)
}

var goProcess = regexp.MustCompile(`the Go program is process (\d+), and its work is :?done`)

// runs: the Go program comes with the demo, comes back when it is killed, ends with its child, and
// with the VM.
func (d *portDemo) runs(supervisor, child string) {
	d.t.Helper()
	cmd := d.starts(d.service)
	var last int
	for times := range 3 {
		d.says(cmd, "and its work is", times+1)
		all := goProcess.FindAllStringSubmatch(said(d.t, cmd), -1)
		require.Len(d.t, all, times+1)
		pid, err := strconv.Atoi(all[times][1])
		require.NoError(d.t, err)
		require.NotEqual(d.t, last, pid)
		if last = pid; times < 2 {
			require.NoError(d.t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	require.Contains(d.t, said(d.t, cmd), "137", "the exit status is the reason")
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", last))
	if err == nil { // Linux
		require.NotContains(d.t, string(environ), otp.DefaultCookie)
	}
	n := startNode(d.t, config(d.port))
	ask := func(module, function string, args ...any) string {
		answer, err := n.RPC(background(d.t), "app@127.0.0.1", module, function, args...)
		require.NoError(d.t, err)
		return answer.String()
	}
	require.Equal(d.t, "ok", ask("supervisor", "terminate_child", ei.Atom(supervisor), ei.Atom(child)))
	require.Error(d.t, syscall.Kill(last, 0), "the program has ended before")
	require.Contains(d.t, ask("supervisor", "restart_child", ei.Atom(supervisor), ei.Atom(child)), "{ok,")
	last, err = strconv.Atoi(strings.Trim(ask(child, "os_pid"), "{os_pid,}"))
	require.NoError(d.t, err)

	require.NoError(d.t, cmd.Process.Kill())
	gone := func() bool { return syscall.Kill(last, 0) != nil }
	require.Eventually(d.t, gone, otp.HandshakeTime, 10*time.Millisecond, "the Go program outlives the VM")
	require.NoError(d.t, n.Close())
}

// watches: a Go program that others run is seen to come, go and come back.
func (d *portDemo) watches() {
	d.t.Helper()
	cmd := d.starts("service@127.0.0.1")
	for times := range 2 {
		service := exec.Command(d.service, "--grace", "1ms")
		d.environ(service).Env = append(service.Env, "SERVICE_COOKIE="+otp.DefaultCookie)
		p := otp.Serve(d.t, service)
		d.says(cmd, "service@127.0.0.1 is up", times+1)
		p.Kill()
		d.says(cmd, "service@127.0.0.1 is down", times+1)
	}
}

// The supervision tree of examples/elixir has a Go program below it, or watches one.
func TestPortOfElixir(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		d, dir := newPortDemo(t, "elixir")
		d.command = func(pathOrNode string) *exec.Cmd {
			return exec.Command(e.Program, "--name", "app@127.0.0.1", "--cookie", otp.DefaultCookie, filepath.Join(dir, "demo.exs"), pathOrNode)
		}
		d.runs("Elixir.Demo.Supervisor", "Elixir.GoNode")
		d.watches()
	})
}

// That of examples/erlang, too.
func TestPortOfErlang(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		d, dir := newPortDemo(t, "erlang")
		sources, err := filepath.Glob(dir + "/*.erl")
		require.NoError(t, err)
		out, err := exec.Command(r.Command("erlc"), append([]string{"-Werror", "-o", dir}, sources...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		d.command = func(pathOrNode string) *exec.Cmd {
			return exec.Command(r.Erl, "-noinput", "-pa", dir, "-name", "app@127.0.0.1", "-setcookie", otp.DefaultCookie,
				"-run", "demo", "main", pathOrNode)
		}
		d.runs("demo", "go_node")
		d.watches()
	})
}
