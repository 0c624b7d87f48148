package stay

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrProc: without /proc nobody can tell which process is the program's next one.
var ErrProc = errors.New("no /proc that shows the processes of this container")

// run starts a program, and returns when it has ended, with an *EndedError if that was no success.
func run(program []string) error {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.Join(ErrProc, err)
	}
	path, err := exec.LookPath(program[0])
	if err != nil {
		return &StartError{err}
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of processes whose parents have ended: %w", err)
	}
	// Both before the start: neither what comes for the program nor its end may be lost.
	told, changed := make(chan os.Signal, 32), make(chan os.Signal, 1)
	signal.Notify(told, passedOn()...)
	defer signal.Stop(told)
	signal.Notify(changed, unix.SIGCHLD)
	defer signal.Stop(changed)
	p, err := os.StartProcess(path, program, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return &StartError{err}
	}
	k := keeper{main: p.Pid}
	if err := p.Release(); err != nil { // wait4 has it from now on
		return err
	}
	// One goroutine for both, so that no signal goes to a number that the kernel has given away.
	for {
		var sent os.Signal
		select {
		case sent = <-told:
		case <-changed:
		}
		// Before a signal is passed on, too: it is for the successor of a process that has ended.
		if over, err := k.reap(); over {
			return err
		}
		if sent != nil {
			k.pass(sent.(syscall.Signal))
		}
	}
}

const (
	firstRealTime = 35 // the C libraries keep those from 32 on for themselves
	lastRealTime  = 64
)

// passedOn are the signals that mean the program. Those that were ignored at the start are ignored
// by the program, too: nohup wants it to live on without a terminal.
func passedOn() (list []os.Signal) {
	all := []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGWINCH}
	for s := syscall.Signal(firstRealTime); s <= lastRealTime; s++ {
		all = append(all, s)
	}
	for _, s := range all {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	return list
}

// endSignals are the ones that a process which is about to end may not pass on to its successor
// any more.
var endSignals = []syscall.Signal{unix.SIGTERM, unix.SIGINT}

// A keeper follows a program from process to process.
type keeper struct {
	main int            // the process that the program is now
	end  syscall.Signal // told main to end; 0: none has
}

func (k *keeper) pass(s syscall.Signal) {
	if slices.Contains(endSignals, s) {
		k.end = s
	}
	_ = unix.Kill(k.main, s) // it may have ended: then reap has its successor
}

// reap removes the children that have ended. over: the program was one of them, and has no
// successor.
func (k *keeper) reap() (over bool, err error) {
	for {
		var how unix.WaitStatus
		pid, err := unix.Wait4(-1, &how, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return true, fmt.Errorf("wait for the program: %w", err)
		case pid == 0:
			return false, nil
		case pid == k.main:
			next, err := successor()
			if err != nil {
				return true, err
			}
			if next == 0 {
				return true, ended(how)
			}
			k.follow(next)
		}
	}
}

// follow goes on with another process. One that passes a signal on to its successor ends after it:
// this one has not, so a signal that has told it to end has reached nobody.
func (k *keeper) follow(next int) {
	k.main = next
	if k.end != 0 {
		k.pass(k.end)
	}
}

func ended(how unix.WaitStatus) error {
	switch {
	case how.Signaled():
		return &EndedError{Signal: how.Signal()}
	case how.ExitStatus() != 0:
		return &EndedError{Code: how.ExitStatus()}
	}
	return nil
}
