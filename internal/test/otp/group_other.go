//go:build !unix

package otp

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup does nothing: there are no process groups here.
func ownGroup(*exec.Cmd) {}

// killGroup kills the program alone.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// groupLives cannot tell on these systems.
func groupLives(int) bool { return false }

// The signals of Pause and Continue, which the system will refuse.
const (
	pause   = syscall.Signal(19)
	proceed = syscall.Signal(18)
)
