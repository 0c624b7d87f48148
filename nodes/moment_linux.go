package nodes

import "golang.org/x/sys/unix"

// machineClock goes on while the machine sleeps, and is the same for all its processes.
const machineClock = unix.CLOCK_BOOTTIME
