//go:build unix

package cli

import (
	"os"
	"syscall"
	"time"
)

// endBy ends this process by a signal.
func endBy(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok && syscall.Kill(os.Getpid(), n) == nil {
		time.Sleep(time.Second) // it may reach another thread
	}
}
