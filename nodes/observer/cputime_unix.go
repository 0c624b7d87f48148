//go:build unix

package observer

import (
	"syscall"
	"time"
)

// cpuTime is the time that the program has had processors for.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
