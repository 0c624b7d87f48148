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

// awaitShortly waits on the calling thread for something to arrive at a descriptor, for d at most, and reports whether something did.
//
// The scheduler is not told, for its monitor thread would wake up for each wait, beside a peer that has work to do. It need not be told:
// when it wants the processor, to collect garbage say, it signals the thread, and a signal ends the call.
func awaitShortly(fd int, d time.Duration) bool {
	for began, left := time.Now(), d; left > 0; left = d - time.Since(began) {
		p := unix.PollFd{Fd: int32(fd), Events: pollArrivals}
		t := unix.NsecToTimespec(left.Nanoseconds())
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
		if errno != unix.EINTR {
			return errno == 0 && n == 1
		}
		runtime.Gosched()
	}
	return false
}
