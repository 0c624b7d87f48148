//go:build unix

package bind10

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sessionBuffer makes a stream's buffer, of the direction in use, large enough for two sessions.
func sessionBuffer(raw syscall.RawConn, sends bool) (err error) {
	e := raw.Control(func(fd uintptr) {
		if !sends {
			err = os.NewSyscallError("setsockopt SO_RCVBUF", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, sessionBuffers))
			return
		}
		if size, e := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF); e != nil || size < sessionBuffers {
			err = os.NewSyscallError("setsockopt SO_SNDBUF", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sessionBuffers))
		}
	})
	if e != nil {
		return e
	}
	return err
}
