package project

import (
	"bytes"
	"context"
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

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

var generator = otp.Demo{Program: "cnode-gen"}

func TestMain(m *testing.M) { os.Exit(leak.Run(leak.Then(m, generator.Remove))) }

const (
	goNode = "pricing@127.0.0.1"
	beam   = "shop@127.0.0.1"
)

// A desk is a folder in which somebody works, with Go at the same path for all programs, also those
// with a root file system of their own.
type desk struct {
	t       *testing.T
	dir     string
	environ []string
	mounts  string
}

func newDesk(t *testing.T) *desk {
	need.Root(t, "only root can give a root file system the folder of Go")
	d := &desk{t: t, dir: t.TempDir()}
	for _, m := range [][2]string{{goEnv(t, "GOROOT"), "go"}, {goEnv(t, "GOCACHE"), "cache"}} {
		at := filepath.Join(d.dir, m[1])
		require.NoError(t, os.Mkdir(at, 0o755))
		d.mounts += fmt.Sprintf("mount --bind '%s' '%s'\n", m[0], at)
	}
	require.NoError(t, os.Mkdir(d.dir+"/bin", 0o755))
	require.NoError(t, os.Mkdir(d.dir+"/run", 0o700))
	program, err := os.ReadFile(generator.Path(t))
	require.NoError(t, err)
	d.file("bin/cnode-gen", string(program))
	require.NoError(t, os.Chmod(d.dir+"/bin/cnode-gen", 0o755))
	d.environ = append(os.Environ(), fmt.Sprintf("ERL_EPMD_PORT=%d", otp.Epmd(t)), "ERL_EPMD_ADDRESS=127.0.0.1", "LC_ALL=C.UTF-8",
		"HOME="+d.dir, "XDG_RUNTIME_DIR="+d.dir+"/run", "GOROOT="+d.dir+"/go", "GOPATH="+d.dir+"/gopath", "GOCACHE="+d.dir+"/cache",
		"GOMODCACHE="+d.dir+"/modules", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=-trimpath")
	d.environ = append(d.environ, otp.Published(t, "../../..", d.dir)...)
	d.file(".erlang.cookie", otp.DefaultCookie)
	require.NoError(t, os.Chmod(d.dir+"/.erlang.cookie", 0o400))
	return d
}

func goEnv(t *testing.T, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// file writes a file below the desk.
func (d *desk) file(name, text string) {
	path := filepath.Join(d.dir, name)
	require.NoError(d.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(d.t, os.WriteFile(path, []byte(text), 0o644))
}

// edit replaces what has to be in a file.
func (d *desk) edit(name, old, with string) {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, name))
	require.NoError(d.t, err)
	require.Contains(d.t, string(text), old, name)
	d.file(name, strings.Replace(string(text), old, with, 1))
}

// command is a program with the mounts, and under its own process number.
func (d *desk) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-ec", d.mounts + `exec "$@"`, "sh", program}, args...)...)
	cmd.Env, cmd.WaitDelay = d.environ, time.Second
	return cmd
}

// output runs a command that ends by itself.
func (d *desk) output(cmd *exec.Cmd) (string, error) {
	d.t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(d.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return out.String(), err
	case <-time.After(10 * time.Minute): // everything is compiled for the first time, on a busy machine
		_ = cmd.Process.Kill()
		err := <-ended
		return out.String(), err
	}
}

// An elixir runs what users type in a shell, in the folder shop of its desk.
type elixir struct {
	*desk
	otp.Elixir
}

// prelude is what every Elixir runs first: its root file system has neither Go nor the folder.
func (e *elixir) prelude(folder string) string {
	return fmt.Sprintf(`System.put_env("PATH", "%[1]s/go/bin:%[1]s/bin:" <> System.get_env("PATH")); File.cd!("%[1]s/%[2]s"); `, e.dir, folder)
}

// shell runs lines of a shell.
func (e *elixir) shell(folder, lines string) (string, error) {
	e.t.Helper()
	return e.output(e.command(e.Program, "-e", e.prelude(folder)+
		fmt.Sprintf(`{_, s} = System.cmd("sh", ["-ec", %s], into: IO.stream(:stdio, :line), stderr_to_stdout: true); System.halt(s)`,
			strings.ReplaceAll(strconv.Quote(lines), "#{", "\\#{"))))
}

// does is shell for lines that have to succeed.
func (e *elixir) does(folder, lines string) string {
	e.t.Helper()
	out, err := e.shell(folder, lines)
	require.NoError(e.t, err, "%s\n%s", lines, out)
	return out
}

// A log is what a program has written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A system is a BEAM that runs, and a Go node by which the test asks it.
type system struct {
	t     *testing.T
	d     *desk
	cmd   *exec.Cmd
	log   *log
	ended chan struct{}
	n     *nodes.Node
}

// start starts a BEAM, and waits until it can be asked and has said something.
func (d *desk) start(cmd *exec.Cmd, says string) *system {
	d.t.Helper()
	s := &system{t: d.t, d: d, cmd: cmd, log: &log{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	require.NoError(d.t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	d.t.Cleanup(func() {
		s.kill()
		if d.t.Failed() {
			d.t.Logf("the BEAM:\n%s", s.log)
		}
	})
	s.says(says, 1)
	return s
}

// asks makes the node by which the test asks.
func (s *system) asks() *system {
	s.t.Helper()
	return s.asksBy(otp.DefaultCookie)
}

func (s *system) asksBy(cookie string) *system {
	s.t.Helper()
	port := ""
	for _, v := range s.d.environ {
		if p, ok := strings.CutPrefix(v, "ERL_EPMD_PORT="); ok {
			port = p
		}
	}
	n, err := nodes.New(nodes.Config{Name: fmt.Sprintf("test%d@127.0.0.1", s.cmd.Process.Pid), Cookie: cookie,
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + port}}})
	require.NoError(s.t, err)
	require.NoError(s.t, n.Start(expect.Context(s.t)))
	s.t.Cleanup(func() { n.Close() })
	s.n = n
	return s
}

// says waits until the BEAM has said something so many times. Elixir has a space in a tuple.
func (s *system) says(what string, times int) {
	s.t.Helper()
	said := func() string { return strings.ReplaceAll(s.log.String(), "{:exit_status, ", "{exit_status,") }
	require.Eventually(s.t, func() bool { return strings.Count(said(), what) >= times }, 2*expect.Limit, 5*time.Millisecond,
		"%q, %d times", what, times)
}

// kill kills the BEAM alone.
func (s *system) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// ask calls a function of a node, which has to succeed.
func ask[R any](s *system, node, module, function string, args ...any) R {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*expect.Limit)
	defer cancel()
	answer, err := nodes.RPCAs[R](ctx, s.n, node, module, function, args...)
	require.NoError(s.t, err, "%s:%s", module, function)
	return answer
}

// An info is what a child tells.
type info struct {
	OSPid     int `ei:"os_pid"`
	Connected bool
}

func (s *system) info() info {
	s.t.Helper()
	return ask[info](s, beam, "cnode_node", "info", ei.Atom(goNode))
}

// returns waits for the child in place of the one whose process was that, and gives its process.
func (s *system) returns(before int) (pid int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), expect.Limit)
		defer cancel()
		now, err := nodes.RPCAs[info](ctx, s.n, beam, "cnode_node", "info", ei.Atom(goNode)) // noproc in between
		pid = now.OSPid
		return err == nil && now.Connected && pid != before
	}, 2*expect.Limit, 10*time.Millisecond, "the child comes back")
	return pid
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int, why string) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return true
		}
		_, state, _ := bytes.Cut(status, []byte(") "))
		return bytes.HasPrefix(state, []byte("Z")) // nobody waits for it in a container
	}, expect.Limit, 5*time.Millisecond, why)
}

// version is that of the program which serves.
func (s *system) version() int {
	s.t.Helper()
	return ask[int](s, goNode, "pricing", "version")
}

// works begins a call that takes a second, and gives what it will have returned.
func (s *system) works() <-chan string {
	s.t.Helper()
	before := strings.Count(s.log.String(), "slow begins")
	answer := make(chan string, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), expect.Limit)
		defer cancel()
		text, err := nodes.RPCAs[string](ctx, s.n, goNode, "pricing", "slow")
		if err != nil {
			text = err.Error()
		}
		answer <- text
	}()
	s.says("slow begins", before+1)
	return answer
}

const down = goNode + " is not connected any more"

// supervised is what holds with every BEAM whose child the Go program is. build puts a version of
// it at path, where the child finds it, in place of what is there.
func (s *system) supervised(path string, build func(version int)) {
	t := s.t
	t.Helper()
	require.Equal(t, beam, ask[string](s, goNode, "pricing", "parent"))
	now := s.info()
	require.True(t, now.Connected)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", now.OSPid))
	require.NoError(t, err)
	require.NotContains(t, string(line), otp.DefaultCookie, "other users see the command line")

	// a killed program is seen, and comes back; so is one that ends by itself
	require.NoError(t, syscall.Kill(now.OSPid, syscall.SIGKILL))
	pid := s.returns(now.OSPid)
	s.says("{exit_status,137,", 1)
	require.True(t, ask[bool](s, goNode, "pricing", "exit", 3))
	pid = s.returns(pid)
	s.says("{exit_status,3,", 1)

	// lines keep their level
	require.True(t, ask[bool](s, goNode, "pricing", "log"))
	s.says("pricing: msg=odd n=7", 1)

	// no node sees an upgrade, and a call that goes on is answered
	downs := strings.Count(s.log.String(), down)
	require.Equal(t, ei.Atom("unchanged"), ask[ei.Atom](s, beam, "cnode_node", "upgrade", ei.Atom(goNode)))
	build(2)
	require.Equal(t, 1, s.version())
	answer := s.works()
	require.Equal(t, ei.Atom("ok"), ask[ei.Atom](s, beam, "cnode_node", "upgrade", ei.Atom(goNode)))
	require.Equal(t, "answered", <-answer)
	require.Equal(t, 2, s.version())
	gone(t, pid, "the old process has ended")
	pid = s.info().OSPid

	// a program that does not start leaves the old one where it is
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho broken\nexit 3\n"), 0o755))
	require.Equal(t, "{error,{exit_status,3,[<<\"broken\">>]}}", ask[ei.Term](s, beam, "cnode_node", "upgrade", ei.Atom(goNode)).String())
	require.Equal(t, 2, s.version())
	require.Equal(t, info{pid, true}, s.info())
	build(3)
	require.Equal(t, ei.Atom("ok"), ask[ei.Atom](s, beam, "cnode_node", "upgrade", ei.Atom(goNode)))
	require.Equal(t, 3, s.version())
	require.Equal(t, downs, strings.Count(s.log.String(), down), "a node has seen an upgrade")
	gone(t, pid, "the old process has ended")

	// what has taken over is killed as the first one
	pid = s.info().OSPid
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	s.returns(pid)
	require.Equal(t, 3, s.version())
}

// stops: the program answers what it works on when the BEAM stops in order, and then both are gone.
func (s *system) stops() {
	s.t.Helper()
	pid, answer := s.info().OSPid, s.works()
	require.Equal(s.t, ei.Atom("ok"), ask[ei.Atom](s, beam, "init", "stop"))
	require.Equal(s.t, "answered", <-answer)
	<-s.ended
	gone(s.t, pid, "the program outlives the BEAM")
}

// dies: a killed BEAM leaves no program, which answers what it works on.
func (s *system) dies() {
	s.t.Helper()
	pid, answer := s.info().OSPid, s.works()
	s.kill()
	require.Equal(s.t, "answered", <-answer)
	gone(s.t, pid, "the program outlives the BEAM")
}
