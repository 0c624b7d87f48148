package transport

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pollArrivals = unix.POLLIN | unix.POLLRDHUP
	pollRoom     = unix.POLLOUT
)

// awaitFD waits for one of the events of a descriptor on the thread that calls, for so long at most, and reports whether one came.
//
// The scheduler is not told, for its monitor thread would wake up for each wait, beside a peer that has work to do. It need not be: when it
// wants the processor, to collect garbage say, it signals the thread, and a signal ends the call.
func awaitFD(fd int, events int16, d time.Duration) bool {
	for began, left := time.Now(), d; left > 0; left = d - time.Since(began) {
		p := unix.PollFd{Fd: int32(fd), Events: events}
		t := unix.NsecToTimespec(left.Nanoseconds())
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
		if errno != unix.EINTR {
			return errno == 0 && n == 1
		}
		runtime.Gosched()
	}
	return false
}
