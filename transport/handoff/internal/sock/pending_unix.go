//go:build unix

package sock

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listenAnew calls listen(2) again, so that those who connect from now on see this process as the
// one that listens, and not the one from which this process has the listener. If that fails, they
// see that one.
func listenAnew(l *net.UnixListener) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Listen(int(fd), mostBacklog) })
	}
}

// mostBacklog stands for the longest backlog that the system allows.
const mostBacklog = 1<<16 - 1

// pending tells whether a connection waits to be accepted.
func pending(l *net.UnixListener) (there bool, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false, err
	}
	e := raw.Control(func(fd uintptr) {
		for err = unix.EINTR; err == unix.EINTR; {
			var n int
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			there = n > 0
		}
	})
	if e != nil {
		return false, e
	}
	return there, os.NewSyscallError("poll", err)
}
