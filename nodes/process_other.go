//go:build !linux

package nodes

import (
	"os"
	"syscall"
)

// A processHandle is what Linux alone has.
type processHandle struct{}

func (*processHandle) open(int)        {}
func (*processHandle) adopt(int)       {}
func (*processHandle) there() bool     { return false }
func (*processHandle) descriptor() int { return -1 }
func (*processHandle) wait() bool      { return false }
func (*processHandle) kill()           {}
func (*processHandle) close()          {}

func signalProcess(pid int, s syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(s)
}

func killProcess(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
