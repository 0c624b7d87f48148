//go:build unix && !linux

package party

import (
	"os"
	"syscall"
	"time"
)

// Hit sends a signal to this process, and gives it time to have its effect.
func Hit(s syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), s)
	time.Sleep(100 * time.Millisecond)
}
