//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/stretchr/testify/require"
)

// A successive is a serve and the processes that succeed it, on the same standard output.
type successive struct {
	w     *home
	cmd   *exec.Cmd
	name  string
	place string
	lines chan string
	ended chan struct{}
	over  chan struct{} // closed when nobody has the standard output any more
}

// successive starts serve; extra files are its descriptors from 3 on.
func (w *home) successive(extra []*os.File, command ...string) *successive {
	w.t.Helper()
	s := w.launch(extra, command...)
	s.name = s.ready()
	return s
}

// takesOver is successive for serve --takeover. The previous process refuses every successor while
// it is still busy with one that it has refused.
func (w *home) takesOver(args ...string) *successive {
	w.t.Helper()
	for end := time.Now().Add(waitLimit); ; {
		s := w.launch(nil, append([]string{program, "serve", "--takeover"}, args...)...)
		select {
		case line := <-s.lines:
			s.lines <- line
		case <-s.ended:
			require.True(w.t, time.Now().Before(end), "it is refused")
			continue
		case <-time.After(waitLimit):
		}
		s.name = s.ready()
		return s
	}
}

// refused gives the reason why serve --takeover fails.
func (w *home) refused(args ...string) string {
	w.t.Helper()
	for end := time.Now().Add(waitLimit); ; {
		_, errOut := w.fail(append([]string{"serve", "--takeover"}, args...)...)
		if !strings.Contains(errOut, handoff.ErrBusy.Error()) || time.Now().After(end) {
			return errOut
		}
	}
}

// launch starts it, and does not wait.
func (w *home) launch(extra []*os.File, command ...string) *successive {
	t := w.t
	t.Helper()
	in, out, err := os.Pipe()
	require.NoError(t, err)
	s := &successive{w: w, cmd: exec.Command(command[0], command[1:]...), lines: make(chan string, 100), ended: make(chan struct{}),
		over: make(chan struct{})}
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr, s.cmd.ExtraFiles = append([]string{noPause}, w.env...), out, os.Stderr, extra
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: w.job}
	require.NoError(t, s.cmd.Start())
	require.NoError(t, out.Close())
	go func() {
		defer close(s.over)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	go func() { defer close(s.ended); _ = s.cmd.Wait() }()
	t.Cleanup(func() { // ends the processes that are left
		_ = s.cmd.Process.Kill()
		<-s.ended
		_ = in.Close() // a successor may still have the other end
		<-s.over
	})
	return s
}

// ready waits for a process that says so.
func (s *successive) ready() (name string) {
	s.w.t.Helper()
	select {
	case line := <-s.lines:
		parts := words(line)
		require.Len(s.w.t, parts, 3, line)
		require.Equal(s.w.t, "ready", parts[0])
		s.place = parts[2]
		return parts[1]
	case <-time.After(waitLimit):
		s.w.t.Fatal("serve has not said that it is ready")
		return ""
	}
}

// exits waits until the first process has ended, without an error.
func (s *successive) exits() {
	s.w.t.Helper()
	select {
	case <-s.ended:
		require.Equal(s.w.t, 0, s.cmd.ProcessState.ExitCode())
	case <-time.After(waitLimit):
		s.w.t.Fatal("the old process has not ended")
	}
}

// upgrade upgrades, and returns the new process.
func (s *successive) upgrade(old int) (pid int) {
	t := s.w.t
	t.Helper()
	r := s.w.run("upgrade", s.name)
	parts := words(r.out)
	require.Len(t, parts, 4, r.err)
	pid, err := strconv.Atoi(parts[3])
	require.NoError(t, err)
	endsWithTest(t, pid)
	require.Equal(t, exitOK, r.code, r.err)
	require.Equal(t, []string{"upgraded", s.name, strconv.Itoa(old)}, parts[:3])
	if !slices.Contains(s.cmd.Args, "--workers") {
		require.Empty(t, r.err)
	} else if r.err != "" { // on a busy machine they take a while
		require.Equal(t, "upgrade: waiting for the workers of "+s.name+"; they go on without this command, too\n", r.err)
	}
	require.Equal(t, s.name, s.ready())
	return pid
}

// newProgram makes a script of the shell, which is to be the new program.
func newProgram(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "new")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700))
	return path
}

func endsWithTest(t *testing.T, pid int) {
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
}

// servedBy asks which process serves a connection.
func servedBy(t *testing.T, c *nodes.Conn) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	r, err := c.RPC(ctx, "cnode", "pid")
	require.NoError(t, err)
	pid, ok := r.(ei.Int)
	require.True(t, ok, "%v", r)
	return int(pid)
}

// dialed connects a Go node to one that is served.
func dialed(t *testing.T, w *home, name string) (*nodes.Node, *nodes.Conn) {
	t.Helper()
	n := w.node("client")
	c, err := n.Connect(t.Context(), name)
	require.NoError(t, err)
	return n, c
}

// A new process that can open too few files for the connections is refused before anything stops.
func TestUpgradeTooFewFiles(t *testing.T) {
	need.Descriptors(t, 500)
	const count = 40
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
	var all []*nodes.Conn
	for i := range count {
		c, err := w.node("client"+strconv.Itoa(i)).Connect(t.Context(), s.name)
		require.NoError(t, err)
		all = append(all, c)
	}
	short := newProgram(t, fmt.Sprintf("ulimit -n %d\nexec \"%s\" \"$@\"", 2*count-1, program))
	_, errOut := w.fail("upgrade", s.name, "--binary", short)
	require.Contains(t, errOut, "hello, ")
	require.Contains(t, errOut, handoff.ErrLimit.Error())
	for _, c := range all {
		require.Equal(t, s.cmd.Process.Pid, servedBy(t, c))
	}
}

// The node goes on in one process after the other, and so does each worker: the connection stays,
// as does what the peer has counted. The last one cleans up.
func TestUpgrade(t *testing.T) {
	for _, workers := range []string{"0", "2"} {
		t.Run("workers "+workers, func(t *testing.T) {
			w := newHome(t, 0)
			s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1", "--workers", workers)
			n, c := dialed(t, w, s.name)
			names := w.succeed("names")
			client := &client{t, nil, s.name}
			var err error
			client.box, err = n.NewMailbox(nil)
			require.NoError(t, err)
			owner, serves := s.cmd.Process.Pid, servedBy(t, c)
			require.Equal(t, workers == "0", serves == owner)
			for range 3 {
				client.send(ei.Atom("sink"), client.me(), ei.Atom("false"), ei.Binary("x"))
				// the answer means that the messages before it were counted
				require.Equal(t, serves, servedBy(t, c))
				owner = s.upgrade(owner)
				now := servedBy(t, c)
				require.NotEqual(t, serves, now)
				require.Equal(t, workers == "0", now == owner)
				require.NoError(t, c.Err())
				serves = now
			}
			s.exits()
			client.send(ei.Atom("sink"), client.me(), ei.Atom("true"), ei.Binary("x"))
			require.Equal(t, ei.Tuple{ei.Atom("count"), ei.Int(4)}, client.receive())
			require.Equal(t, names, w.succeed("names"))
			require.Equal(t, "pong\n", w.succeed("ping", s.name))
			require.NoError(t, syscall.Kill(owner, syscall.SIGTERM))
			dir := filepath.Join(w.home, "cnode-"+strconv.Itoa(os.Getuid()), s.name)
			require.Eventually(t, func() bool { _, err := os.Lstat(dir); return err != nil }, waitLimit, waitLimit/6000)
			require.NotContains(t, w.succeed("names"), "name up ")
		})
	}
}

// Over UNIX sockets, with workers, too.
func TestUpgradeUnix(t *testing.T) {
	for _, workers := range []string{"0", "2"} {
		w := newHome(t, 0)
		s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1", "--transport", "unix", "--workers", workers)
		owner := s.cmd.Process.Pid
		endsWithTest(t, owner) // workers end by themselves
		serves := func() string {
			return strings.TrimSpace(w.succeed("call", s.name, "cnode", "pid", "--transport", "unix"))
		}
		for range 2 {
			old := serves()
			owner = s.upgrade(owner)
			require.NotEqual(t, old, serves())
			require.Equal(t, workers == "0", serves() == strconv.Itoa(owner))
		}
		s.exits()
	}
}

// Whatever is wrong with the new process, the old one serves on.
func TestUpgradeFails(t *testing.T) {
	t.Parallel() // it waits
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
	_, c := dialed(t, w, s.name)
	script := func(text string) string { return newProgram(t, text) }
	for _, tt := range []struct{ name, binary, want string }{
		{"is not there", "/nowhere/cnode-demo", "no such file"},
		{"is no program", w.home, "permission denied"},
		{"ends", script("exit 3"), "exit status 3"},
		{"says nothing", script("exec sleep 1000"), "hello, with an unknown process: the new process has not answered within 10s"},
		{"says nonsense", script("echo nonsense >&3; exec sleep 1000"), "hello"},
		{"refuses its flags", script(`exec "` + program + `" serve --name other@127.0.0.1`), handoff.ErrOther.Error()},
		{"cannot go on", script(`exec "` + program + `" serve --name up@127.0.0.1 --transport unix`), "cannot go on with the registration"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errOut := w.fail("upgrade", s.name, "--binary", tt.binary)
			require.Empty(t, out)
			require.Contains(t, errOut, "serves on")
			require.Contains(t, errOut, tt.want)
			require.Equal(t, s.cmd.Process.Pid, servedBy(t, c))
		})
	}
	t.Run("twice at a time", func(t *testing.T) {
		begun := filepath.Join(t.TempDir(), "begun")
		slow := script("touch " + begun + "; exec sleep 1000")
		var errOut string
		for range 5 { // on a busy machine the first upgrade may be over before the second one asks
			first := make(chan result, 1)
			go func() { first <- w.run("upgrade", s.name, "--binary", slow) }()
			require.Eventually(t, func() bool { return os.Remove(begun) == nil }, waitLimit, time.Millisecond)
			_, errOut = w.fail("upgrade", s.name, "--binary", slow)
			require.Equal(t, exitFailed, (<-first).code)
			if strings.Contains(errOut, "another hand-off is going on") {
				return
			}
			require.NoError(t, os.Remove(begun))
		}
		require.Contains(t, errOut, "another hand-off is going on")
	})
	t.Run("with a client that does not read", func(t *testing.T) {
		slow := w.slowClient(s.name, 1000, ei.Binary(make([]byte, 100_000)))
		_, errOut := w.fail("upgrade", s.name)
		require.Contains(t, errOut, "that a client does not read")
		require.Equal(t, s.cmd.Process.Pid, servedBy(t, c))
		require.NoError(t, slow.Close())
	})
	t.Run("of nobody", func(t *testing.T) {
		_, errOut := w.fail("upgrade", "nobody@127.0.0.1")
		require.Contains(t, errOut, "no serve of this user runs as nobody@127.0.0.1")
	})
	s.upgrade(servedBy(t, c))
	s.exits()
}

// A serve that is told to end during an upgrade does not say that it serves on.
func TestUpgradeOfEndingServe(t *testing.T) {
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
	begun := filepath.Join(t.TempDir(), "begun")
	script := newProgram(t, "touch "+begun+"; exec sleep 1000")
	upgraded := make(chan result, 1)
	go func() { upgraded <- w.run("upgrade", s.name, "--binary", script) }()
	require.Eventually(t, func() bool { return os.Remove(begun) == nil }, waitLimit, time.Millisecond)
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	r := <-upgraded
	require.Equal(t, exitFailed, r.code)
	require.Empty(t, r.out)
	require.NotContains(t, r.err, "serves on")
	require.Contains(t, r.err, "ends, and has not handed the node over")
	s.exits()
}

// If a new process dies once it owns everything, or its start fails, the node is gone, and upgrade
// tells the reason.
func TestUpgradeDies(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for dies, want := range map[string]string{
		"1":          ", with process ",
		failsToStart: move.ErrTroubledOwner.Error() + ": no room at the inn",
	} {
		t.Run(dies, func(t *testing.T) {
			w := newHome(t, 0)
			s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
			out, errOut := w.fail("upgrade", s.name, "--binary", newProgram(t, diesVariable+"="+dies+" exec '"+self+"'"))
			require.Empty(t, out)
			require.Contains(t, errOut, want)
			require.Equal(t, dies == "1", strings.Contains(errOut, service.ErrSilent.Error()))
			require.Contains(t, errOut, fmt.Sprintf("process %d", s.cmd.Process.Pid))
			require.NotContains(t, errOut, "serves on")
			s.exits()
		})
	}
}

// Before serve answers anything, as when it hangs, upgrade knows the process that has the node now,
// and not that of an earlier serve.
func TestUpgradeKnowsProcess(t *testing.T) {
	w := newHome(t, 0)
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
	pid := s.upgrade(s.cmd.Process.Pid)
	control := filepath.Join(w.home, "cnode-"+strconv.Itoa(os.Getuid()), s.name, "control")
	require.Eventually(t, func() bool {
		ch, err := handoff.ConnectControl(t.Context(), control)
		return err == nil && ch.Peer().PID == pid && ch.Close() == nil
	}, waitLimit, waitLimit/600)
}

func TestTakeover(t *testing.T) {
	w := newHome(t, 0)
	errOut := w.refused("--name", "up@127.0.0.1")
	require.Contains(t, errOut, "no serve of this user runs as")
	s := w.successive(nil, program, "serve", "--name", "up@127.0.0.1")
	_, c := dialed(t, w, s.name)
	for _, flags := range [][]string{{"--listen", "127.0.0.1:1"}, {"--also", "tcp:127.0.0.1:1"}, {"--also", "unix:" + sockdir.New(t) + "/x"}} {
		errOut = w.refused(append([]string{"--name", "up@127.0.0.1"}, flags...)...)
		require.Contains(t, errOut, upgrade.ErrListens.Error())
		require.Contains(t, errOut, "Leave out --listen and --also")
		require.Equal(t, s.cmd.Process.Pid, servedBy(t, c))
	}
	next := w.takesOver("--name", "up@127.0.0.1", "--listen", "127.0.0.1:0")
	s.exits()
	require.Equal(t, next.cmd.Process.Pid, servedBy(t, c))
	pid := next.upgrade(next.cmd.Process.Pid) // with its own arguments, --takeover among them
	next.exits()
	require.Equal(t, pid, servedBy(t, c))
}
