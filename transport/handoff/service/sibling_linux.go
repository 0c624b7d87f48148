package service

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// makeSibling makes a command's process a child of this one's parent; false where the end of such
// a process could not be seen (before Linux 5.4).
func makeSibling(cmd *exec.Cmd) bool {
	self, err := os.FindProcess(os.Getpid())
	if err != nil || self.WithHandle(func(uintptr) {}) != nil {
		return false
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT}
	return true
}

// hasEnded waits for the end of a process that need not be a child, for limit at most; without
// limit if it is negative.
func hasEnded(p *os.Process, limit time.Duration) (ended bool) {
	wait := -1
	if limit >= 0 {
		wait = int(limit.Milliseconds())
	}
	_ = p.WithHandle(func(pidfd uintptr) {
		err := error(unix.EINTR)
		for n := 0; err == unix.EINTR; ended = n == 1 && err == nil {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, wait)
		}
	})
	return ended
}

// handlePending has the signals handled that wait for any thread of this process: the system gives
// them to one that has a signal of its own, after that. On a busy machine the thread that it has
// chosen may be waiting for a processor.
func handlePending() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGURG) // which the runtime sends itself, too
}
