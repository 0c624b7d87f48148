package stay

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
)

// waitLimit bounds every wait of a test: ten times what a busy machine needs.
const waitLimit = 60 * time.Second

// node is a process that is a node, and upgrades itself on SIGHUP. It tells its number, on
// SIGUSR1 again.
func node(name string) int {
	u := upgrade.Upgrader{Config: nodes.Config{Name: name, Cookie: "c", Resolver: &nodes.Static{}}}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	if _, err := u.Start(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready", os.Getpid())
	go func() {
		for range asked {
			fmt.Println("asked", os.Getpid())
		}
	}()
	err := u.Run(context.Background())
	fmt.Println("ends", os.Getpid(), err)
	return 0
}

// tell prints each signal that it gets, until its standard input ends, or forever.
func tell(forever bool) int {
	got := make(chan os.Signal, 64)
	signal.Notify(got, passedOn()...)
	fmt.Println("ready", os.Getpid())
	over := make(chan bool)
	go func() {
		if !forever {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(over)
		}
	}()
	for {
		select {
		case s := <-got:
			fmt.Println("signal", int(s.(syscall.Signal)))
		case <-over:
			return 0
		}
	}
}

// A stayed is a process that stays, and what its program prints.
type stayed struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// start starts a program below a process that stays; wrapper, if any, starts that.
func start(t *testing.T, wrapper []string, program ...string) *stayed {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	all := slices.Concat(wrapper, []string{self, parentRole, "--"}, program)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = append(os.Environ(), party.AtExit())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Cancel() // also what outlives the process
		_ = cmd.Wait()
		cancel()
	})
	return &stayed{t, cmd, in, bufio.NewScanner(out)}
}

// says waits for a line that begins with word, and gives the number behind it.
func (s *stayed) says(word string) (pid int) {
	s.t.Helper()
	for s.lines.Scan() {
		first, rest, _ := strings.Cut(s.lines.Text(), " ")
		if first == word {
			number, _, _ := strings.Cut(rest, " ")
			pid, _ = strconv.Atoi(number)
			return pid
		}
	}
	require.FailNow(s.t, "not said", word)
	return 0
}

func (s *stayed) tell(sig syscall.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(sig))
}

// ends waits for the end of the process that stays.
func (s *stayed) ends() syscall.WaitStatus {
	s.t.Helper()
	for s.lines.Scan() {
		s.t.Log(s.lines.Text())
	}
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// again is the test itself as a node.
func again(t *testing.T, name string) []string {
	self, err := os.Executable()
	require.NoError(t, err)
	return []string{self, nodeRole, name}
}

// teller is the test itself as a program that tells which signals it gets.
func teller(t *testing.T) []string {
	self, err := os.Executable()
	require.NoError(t, err)
	return []string{self, tellRole}
}

// awaitEnd waits until a process has ended.
func awaitEnd(t *testing.T, pidfd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(waitLimit.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "it does not end")
		return
	}
}

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// A node goes on in one process after the other, and the one that stays sees to the last.
func TestFollowsUpgrades(t *testing.T) {
	s := start(t, nil, again(t, "stays1@127.0.0.1")...)
	first := s.says("ready")
	old := first
	for range 3 {
		gone := pidfd(t, old)
		s.tell(syscall.SIGHUP)
		next := s.says("ready")
		require.NotEqual(t, old, next)
		awaitEnd(t, gone)
		old = next
	}
	s.tell(syscall.SIGUSR1)
	require.Equal(t, old, s.says("asked"))
	s.tell(syscall.SIGTERM)
	require.Equal(t, old, s.says("ends"))
	require.Equal(t, syscall.WaitStatus(0), s.ends())
}

// A signal that tells the program to end while it moves ends it: the new process as well.
func TestEndsDuringUpgrade(t *testing.T) {
	for range 3 {
		s := start(t, nil, again(t, "stays2@127.0.0.1")...)
		s.says("ready")
		s.tell(syscall.SIGHUP)
		next := s.says("ready") // the old one has not ended yet
		s.tell(syscall.SIGTERM)
		require.Equal(t, next, s.says("ends"))
		require.Equal(t, syscall.WaitStatus(0), s.ends())
	}
}

// The exit status is that of the process that the program is in the end.
func TestStatusOfSuccessor(t *testing.T) {
	s := start(t, nil, again(t, "stays3@127.0.0.1")...)
	gone := pidfd(t, s.says("ready"))
	s.tell(syscall.SIGHUP)
	next := s.says("ready")
	awaitEnd(t, gone)
	s.tell(syscall.SIGUSR1)
	require.Equal(t, next, s.says("asked"), "stay has followed")
	require.NoError(t, syscall.Kill(next, syscall.SIGKILL))
	require.Equal(t, syscall.WaitStatus(syscall.SIGKILL), s.ends())
}

// As process 1 of a container it does the same, where every other process 1 would have ended.
func TestProcessOne(t *testing.T) {
	need.Root(t, "a namespace of processes is root's to make")
	contained := []string{need.Program(t, "unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"}
	s := start(t, contained, again(t, "stays4@127.0.0.1")...)
	first := s.says("ready")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.cmd.Process.Pid))
	require.NoError(t, err)
	one, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(one, syscall.SIGHUP))
	next := s.says("ready")
	require.NotEqual(t, first, next)
	require.NoError(t, syscall.Kill(one, syscall.SIGTERM))
	require.Equal(t, next, s.says("ends"))
	require.Equal(t, 0, s.ends().ExitStatus())

	require.Equal(t, 128+9, start(t, contained, "sh", "-c", "kill -KILL $$").ends().ExitStatus())
	require.Equal(t, 7, start(t, contained, "sh", "-c", "exit 7").ends().ExitStatus())
}

func TestExitStatus(t *testing.T) {
	const byNumber = syscall.WaitStatus(1 << 8)
	for script, want := range map[string]syscall.WaitStatus{
		"exit 0":        0,
		"exit 7":        7 * byNumber,
		"kill -TERM $$": syscall.WaitStatus(syscall.SIGTERM),
		"kill -KILL $$": syscall.WaitStatus(syscall.SIGKILL),
		"kill -INT $$":  syscall.WaitStatus(syscall.SIGINT),
		"kill -USR2 $$": (128 + syscall.WaitStatus(syscall.SIGUSR2)) * byNumber,
	} {
		require.Equal(t, want, start(t, nil, "sh", "-c", script).ends(), script)
	}
	require.Equal(t, byNumber, start(t, nil, "/nowhere/program").ends(), "it does not start")
}

// Every signal that a program may want arrives, in the program alone.
func TestPassesSignals(t *testing.T) {
	s := start(t, nil, teller(t)...)
	s.says("ready")
	for _, sig := range passedOn() {
		s.tell(sig.(syscall.Signal))
		require.Equal(t, int(sig.(syscall.Signal)), s.says("signal"))
	}
	require.NoError(t, s.in.Close())
	require.Equal(t, syscall.WaitStatus(0), s.ends())
}

// What nohup wants to be ignored is ignored by the program, too.
func TestIgnoredSignals(t *testing.T) {
	s := start(t, []string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}, teller(t)...)
	s.says("ready")
	s.tell(syscall.SIGHUP)
	s.tell(syscall.SIGUSR1)
	require.Equal(t, int(syscall.SIGUSR1), s.says("signal"))
}

// A process whose parent has ended is removed when it ends, and is not taken for the program.
func TestOrphans(t *testing.T) {
	s := start(t, nil, append([]string{"sh", "-c", `("$@" </dev/null &); read x; exit 5`, "sh"}, append(teller(t), "forever")...)...)
	orphan := s.says("ready")
	parent := func() int {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", orphan))
		if err != nil {
			return 0
		}
		_, pid, _, err := parseStat(string(text))
		require.NoError(t, err)
		return pid
	}
	require.Eventually(t, func() bool { return parent() == s.cmd.Process.Pid }, waitLimit, time.Millisecond)
	require.NoError(t, syscall.Kill(orphan, syscall.SIGKILL))
	require.Eventually(t, func() bool { return parent() == 0 }, waitLimit, time.Millisecond)
	require.NoError(t, s.in.Close())
	require.Equal(t, syscall.WaitStatus(5<<8), s.ends())
}

// The end of the program is the end, whatever else still runs.
func TestEndsBeforeOrphans(t *testing.T) {
	s := start(t, nil, append([]string{"sh", "-c", `("$@" </dev/null &); read x; exit 5`, "sh"}, append(teller(t), "forever")...)...)
	orphan := s.says("ready")
	require.NoError(t, s.in.Close())
	_ = s.cmd.Wait()
	require.Equal(t, syscall.WaitStatus(5<<8), s.cmd.ProcessState.Sys())
	require.NoError(t, syscall.Kill(orphan, syscall.SIGKILL), "it is left to others")
}

func TestParseStat(t *testing.T) {
	text, err := os.ReadFile("/proc/self/stat")
	require.NoError(t, err)
	state, parent, since, err := parseStat(string(text))
	require.NoError(t, err)
	require.NotEqual(t, "Z", state)
	require.Equal(t, os.Getppid(), parent)
	require.NotZero(t, since)
	odd := "7 (a) Z 1 (b) R 3" + strings.Repeat(" 0", 17) + " 99 0"
	_, parent, since, err = parseStat(odd)
	require.NoError(t, err)
	require.Equal(t, 3, parent)
	require.Equal(t, uint64(99), since)
	for _, wrong := range []string{"", "7", "7 (a) R 1", strings.Replace(odd, "R 3", "R x", 1), strings.Replace(odd, "99", "-1", 1)} {
		_, _, _, err := parseStat(wrong)
		require.Error(t, err, wrong)
	}
}
