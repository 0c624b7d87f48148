package sys

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PollForever waits for one of the events on the calling thread, of which the scheduler is told.
// The call has no time-out, for which the kernel would have to set a timer each time.
func PollForever(p *[2]unix.PollFd) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(p)), uintptr(len(p)), 0, 0, 0, 0)
		switch errno {
		case unix.EINTR:
		case 0:
			return nil
		default:
			return errno
		}
	}
}

// Nap sleeps for about d, for which package time's timers are too coarse. The kernel adds its slack
// of 50 us. The scheduler is not told; when it wants the processor, to collect garbage say, it
// signals the thread, and a signal ends the call.
func Nap(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0)
		if errno != unix.EINTR {
			return
		}
		runtime.Gosched()
	}
}

// NewEvent makes an eventfd.
func NewEvent() (int, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_EVENTFD2, 0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK, 0)
	return result(fd, errno)
}

// RaiseEvent makes an eventfd readable. It cannot fail while the counter is 0.
func RaiseEvent(fd int) {
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// DrainEvent takes that back.
func DrainEvent(fd int) {
	var n uint64
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n))
}
