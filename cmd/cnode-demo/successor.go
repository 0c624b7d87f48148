package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
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

// exitDelay is how long the end of a process may come after that of its channel.
const exitDelay = 100 * time.Millisecond

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

// end tells a sibling to end, and waits until it has: the manager that has told this process to
// end may not know of the other one yet, and kills what is left when this one has ended.
func (s *successor) end() {
	if s.sibling && s.cmd.Process.Signal(syscall.SIGTERM) == nil {
		hasEnded(s.cmd.Process, -1)
	}
}

// successorEnv is this process's environment, without channelVariable and the variables by which
// systemd addresses this process only.
func successorEnv() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != channelVariable && name != watchdogProcess && !strings.HasPrefix(name, "LISTEN_") {
			env = append(env, v)
		}
	}
	return env
}

func killed(state *os.ProcessState) bool {
	ws, ok := state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}
