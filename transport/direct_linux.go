package transport

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pollArrivals = unix.POLLIN | unix.POLLRDHUP
	pollRoom     = unix.POLLOUT
)

// awaitFD waits for one of the events of a descriptor on the thread that calls, for so long at most, and reports whether one came.
func awaitFD(fd int, events int16, d time.Duration) bool {
	p := unix.PollFd{Fd: int32(fd), Events: events}
	t := unix.NsecToTimespec(d.Nanoseconds())
	n, _, _ := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
	return n == 1
}
