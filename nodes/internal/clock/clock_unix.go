//go:build unix && !linux

package clock

import "golang.org/x/sys/unix"

// Now is the present time, in nanoseconds, of a clock that all processes of the machine share; 0 if
// there is none.
func Now() int64 {
	var t unix.Timespec
	if unix.ClockGettime(machineClock, &t) != nil {
		return 0
	}
	return t.Nano()
}
