//go:build unix

package service

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// readable waits until there is something to read, or an error.
func readable(c syscall.RawConn) error {
	return c.Read(func(fd uintptr) bool {
		for {
			_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
}
