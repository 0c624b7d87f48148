package transport

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nap sleeps for about d, or until a signal comes: package time's timers are too coarse. The kernel adds its slack of 50 us. The scheduler is
// not told, as of a short wait.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}
