//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package epmd

import (
	"errors"
	"net"
	"syscall"
)

// readable reports, without blocking or consuming anything, whether a read from conn would return
// at once: conn has ended or failed, or there is data. It may be called during a Read. A connection
// without a descriptor is never readable.
func readable(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	waiting := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waiting = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
	})
	return err != nil || !waiting
}
