package clock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Now is the present time, in nanoseconds, of a clock that all processes of the machine share; 0 if
// there is none. The clock goes on while the machine sleeps. The scheduler is not told of the
// system call, which never waits: telling it would wake its monitor thread for each connection.
func Now() int64 {
	var t unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0
	}
	return t.Nano()
}
