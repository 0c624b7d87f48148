//go:build unix && !(linux || freebsd || netbsd || openbsd || dragonfly)

package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// hasPackets tells whether the system has UNIX sockets of sequenced packets.
const hasPackets = false

func socketPair(kind int) ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err != nil {
		return fds, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, nil
}
