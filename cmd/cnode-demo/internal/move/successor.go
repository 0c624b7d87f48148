package move

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
)

// A successor is the process that is started to go on in place of this one.
type successor struct {
	cmd *exec.Cmd
	// sibling: it is no child of this process, but of this one's parent.
	sibling bool
}

// start starts the process: under a service manager as a sibling. The manager learns the end of
// its own children only, and kills a main process that is none as soon as it is told to stop it.
func (s *successor) start() error {
	s.sibling = os.Getenv(notifyVariable) != "" && makeSibling(s.cmd)
	return s.cmd.Start()
}

// exitDelay is how long a process may take to end by itself once it is refused. If it is killed
// before, a service manager may find what it has just started.
const exitDelay = time.Second

// giveUp ends the process by force, and gives how it has ended before that by itself; "": it had
// not.
func (s *successor) giveUp() string {
	if s.sibling { // only the parent learns the exit status
		ended := hasEnded(s.cmd.Process, exitDelay)
		_ = s.cmd.Process.Kill()
		hasEnded(s.cmd.Process, -1)
		if ended {
			return "the service manager has its status"
		}
		return ""
	}
	_ = s.cmd.Process.Kill() // the process may have ended by itself
	state, err := s.cmd.Process.Wait()
	if err != nil || killed(state) {
		return ""
	}
	return state.String()
}

// lastSignal is how long a signal that has come may take to its handler.
const lastSignal = 200 * time.Millisecond

// follow ends what this process still has to do for the node that is the successor's: it passes on
// that it is told to end, as ctx is. Under a service manager it makes the successor the main
// process, and ends before it: what is left when the main process ends is killed. Anybody else
// waits for this process, which therefore ends after the one that it has told to end.
//
// The manager has sent all that it sends to this process when makeMain returns.
func (s *successor) follow(ctx context.Context) (err error) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, cli.Ends()...)
	if s.sibling {
		err = makeMain(s.cmd.Process.Pid)
	}
	steps.Reached("owner: the new process is the main one")
	select {
	case <-ctx.Done():
	case <-time.After(lastSignal):
	}
	handlePending()
	signal.Stop(told) // which waits for what is handled
	if ctx.Err() == nil && len(told) == 0 {
		return err
	}
	if s.cmd.Process.Signal(syscall.SIGTERM) == nil && !s.sibling {
		_ = s.cmd.Wait() // how it ends is its own affair
	}
	return err
}

// succeeds gives the process whose node this one gets; nil if it cannot be watched. It passes on
// that it is told to end, which others may have told this process, too: until it has ended, a
// second SIGTERM is no reason to end at once.
func succeeds(pid int) *os.Process {
	p, err := os.FindProcess(pid)
	if err != nil || pid <= 0 {
		return nil
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		hasEnded(p, -1)
		signal.Stop(told)
	}()
	return p
}

// outliveLimit is more than that process still needs.
const outliveLimit = 2 * mainLimit

// outlive waits for the end of the process whose node this one has got, if that does not wait for
// this one: a service manager kills what is left when its main process has ended.
func outlive(p *os.Process) {
	if p != nil && p.Pid != os.Getppid() && os.Getenv(notifyVariable) != "" {
		hasEnded(p, outliveLimit)
	}
}

// successorEnv is this process's environment, without channelVariable and the variables by which
// systemd addresses this process only.
func successorEnv() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != ChannelVariable && name != watchdogProcess && !strings.HasPrefix(name, "LISTEN_") {
			env = append(env, v)
		}
	}
	return env
}

func killed(state *os.ProcessState) bool {
	ws, ok := state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}
