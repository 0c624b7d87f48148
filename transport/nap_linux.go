package transport

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nap sleeps for about d, for which package time's timers are too coarse. The kernel adds its slack of 50 us. The
// scheduler is not told; when it wants the processor, to collect garbage say, it signals the thread,
// and a signal ends the call.
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
