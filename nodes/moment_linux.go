package nodes

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// moment is now by a clock that all processes of the machine have in common, in nanoseconds; 0: there is none. It goes on while the machine
// sleeps. The scheduler is not told of the call, which never waits: it would wake its monitor thread for each connection.
func moment() int64 {
	var t unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0
	}
	return t.Nano()
}
