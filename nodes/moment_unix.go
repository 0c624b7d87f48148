//go:build unix && !linux

package nodes

import "golang.org/x/sys/unix"

// moment is now by a clock that all processes of the machine have in common, in nanoseconds; 0: there is none.
func moment() int64 {
	var t unix.Timespec
	if unix.ClockGettime(machineClock, &t) != nil {
		return 0
	}
	return t.Nano()
}
