//go:build !linux

package process

import (
	"os"
	"syscall"
)

// A handle does nothing here: only Linux has them.
type handle struct{}

// IsHandle tells whether a descriptor is what Descriptor returns: none is.
func IsHandle(int) bool { return false }

func (*handle) open(int)        {}
func (*handle) adopt(int)       {}
func (*handle) there() bool     { return false }
func (*handle) descriptor() int { return -1 }
func (*handle) wait() bool      { return false }
func (*handle) kill()           {}
func (*handle) close()          {}

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
