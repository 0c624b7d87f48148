//go:build unix && !(linux || freebsd || dragonfly)

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Without SOCK_CLOEXEC, or where package unix has no Accept4 (openbsd, netbsd), the fork lock keeps
// a descriptor from a child that is started in between.

func Socket(family, kind int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, kind, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func SocketPair(kind int) ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}

func Accept(fd int) (int, unix.Sockaddr, error) {
	if !MayWait(fd) { // while an accept waits under the lock, no child could be started
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	nfd, sa, err := unix.Accept(fd)
	if err != nil {
		return -1, nil, err
	}
	unix.CloseOnExec(nfd)
	return nfd, sa, nil
}
