package transport

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawMax is up to how many bytes a read or write is made without telling the scheduler. MSG_DONTWAIT keeps the call from waiting whatever
// the descriptor's mode, so it is over in the time of a copy; telling the scheduler, and its monitor thread waking up for it, cost as much again as a
// small call itself.
const rawMax = 64 << 10

func readFD(fd int, p []byte, _ time.Duration) (int, error) {
	if len(p) == 0 || len(p) > rawMax {
		n, err := unix.Read(fd, p)
		return max(n, 0), err
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return result(n, errno)
}

func writeFD(fd int, p []byte, _ time.Duration) (int, error) {
	if len(p) == 0 || len(p) > rawMax {
		n, err := unix.Write(fd, p)
		return max(n, 0), err
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return result(n, errno)
}

func result(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
