//go:build unix

package handoff

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketKind returns the type of a socket (SO_TYPE).
func socketKind(raw syscall.RawConn) (kind int, err error) {
	e := raw.Control(func(fd uintptr) {
		kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	})
	if e != nil {
		return 0, e
	}
	return kind, os.NewSyscallError("getsockopt SO_TYPE", err)
}

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

// settle stores in i a message of n bytes that has been received into p, and its descriptors. Its
// error says why the message is lost.
func (i *incoming) settle(n int, control []byte, flags int, credentials bool) error {
	i.n, i.settled = min(n, len(i.p)), true
	var got parsed
	var err error
	i.fds, got = parseAncillary(i.fds[:0], control)
	i.cred, i.hasCred = got.cred, got.hasCred
	i.fds, err = arrived(i.fds)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDescriptorsLost, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err))
	// there was room for more than was asked for
	case flags&unix.MSG_CTRUNC != 0 || len(i.fds) > i.room:
		return ErrDescriptorsLost
	case flags&unix.MSG_TRUNC != 0:
		return ErrTruncated
	case got.foreign || got.hasCred && !credentials:
		return ErrAncillary
	}
	return nil
}

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
