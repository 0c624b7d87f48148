//go:build unix && !(linux || freebsd || netbsd || openbsd || dragonfly || solaris || illumos)

package transport

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Without SOCK_CLOEXEC the fork lock keeps a descriptor from a child that is started in between.

func streamSocket(af int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(af, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func acceptFD(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	nfd, sa, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(nfd)
	}
	return nfd, sa, err
}
