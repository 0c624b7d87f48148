//go:build unix && !linux && !netbsd

package clock

import "golang.org/x/sys/unix"

// machineClock is a clock that reads the same in all processes of the machine.
const machineClock = unix.CLOCK_MONOTONIC
