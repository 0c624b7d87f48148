//go:build unix

package otp

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// groupLives reports whether a process of the group that pid led still runs. Where there is a
// /proc, a zombie does not count.
func groupLives(pid int) bool {
	if errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) {
		return false
	}
	stats, _ := filepath.Glob("/proc/[1-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		_, rest, ok := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); err == nil && ok && len(f) > 2 && f[2] == strconv.Itoa(pid) && f[0] != "Z" && f[0] != "X" {
			return true
		}
	}
	return len(stats) == 0
}

// The signals of Pause and Continue.
const (
	pause   = syscall.SIGSTOP
	proceed = syscall.SIGCONT
)
