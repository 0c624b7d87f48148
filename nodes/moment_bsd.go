//go:build unix && !linux && !netbsd

package nodes

import "golang.org/x/sys/unix"

// machineClock is the same for all processes of the machine.
const machineClock = unix.CLOCK_MONOTONIC
