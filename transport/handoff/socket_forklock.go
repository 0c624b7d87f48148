//go:build unix && !(linux || freebsd || netbsd || openbsd || dragonfly)

package handoff

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func socketPair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return fds, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if e := unix.SetNonblock(fd, true); e != nil {
			err = e
		}
	}
	if err != nil {
		return fds, errors.Join(err, closeAll(fds[:]))
	}
	return fds, nil
}

func datagramSocket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}
