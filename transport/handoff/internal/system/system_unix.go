//go:build unix

package system

import (
	"os"

	"golang.org/x/sys/unix"
)

// Arrived moves descriptors that have just been received and are 0, 1 or 2 to higher numbers. It
// returns the descriptors that are open, also with an error.
func Arrived(fds []int) ([]int, error) {
	for i, fd := range fds {
		if fd > 2 {
			continue
		}
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return fds, err
		}
		fds[i] = high
		_ = unix.Close(fd) // the file stays open as high
	}
	return fds, nil
}

// SocketType tells what a socket is, for less than handoff.Inspect, without addresses.
func SocketType(fd int) (family, kind int, listening bool, err error) {
	if kind, err = Option(fd, unix.SO_TYPE); err != nil {
		return 0, 0, false, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	on, err := Option(fd, unix.SO_ACCEPTCONN)
	listening = err == nil && on != 0
	family, err = Family(fd)
	return family, kind, listening, err
}
