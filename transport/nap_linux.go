package transport

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nap sleeps for about d, for which package time's timers are too coarse. The kernel adds its slack of 50 us. As with a short wait, the
// scheduler is not told; when it wants the processor it signals the thread.
func nap(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0)
		if errno != unix.EINTR {
			return
		}
		runtime.Gosched()
	}
}
