//go:build unix

package otp

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the program the leader of a new process group.
func ownGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// killGroup kills every process of the group that pid leads or led.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// The signals of Pause and Continue.
const (
	pause   = syscall.SIGSTOP
	proceed = syscall.SIGCONT
)
