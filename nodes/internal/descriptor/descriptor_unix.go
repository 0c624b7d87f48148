//go:build unix

package descriptor

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// Duplicate makes a second descriptor of what fd refers to. Programs that this process starts do
// not inherit it.
func Duplicate(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return dup, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}

// CloseOnExec keeps programs that this process starts from inheriting a descriptor.
func CloseOnExec(fd int) { unix.CloseOnExec(fd) }

// Close closes a descriptor.
func Close(fd int) error { return os.NewSyscallError("close", unix.Close(fd)) }

// Shutdown ends a connection for every process that has a descriptor of it.
func Shutdown(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }

// File makes a file of a socket's descriptor, which it owns.
func File(fd int) *os.File { return os.NewFile(uintptr(fd), "socket") }

// FileOf makes a file of a duplicate of a descriptor.
func FileOf(fd int) (*os.File, error) {
	dup, err := Duplicate(fd)
	if err != nil {
		return nil, err
	}
	return File(dup), nil
}

// StreamPair makes two connected sockets for other processes, or for Import.
func StreamPair() (one, other int, err error) {
	a, b, err := transport.UnixPair()
	if err != nil {
		return -1, -1, err
	}
	defer a.Release()
	defer b.Release()
	fda, err := a.Descriptor()
	if err != nil {
		return -1, -1, err
	}
	fdb, err := b.Descriptor()
	if err != nil {
		return -1, -1, err
	}
	if one, err = Duplicate(fda); err != nil {
		return -1, -1, err
	}
	if other, err = Duplicate(fdb); err != nil {
		_ = Close(one)
		return -1, -1, err
	}
	return one, other, nil
}

// AwaitInput waits until there is something to read on a socket, or its other end is closed; it
// reads nothing. The socket's deadlines bound the wait.
func AwaitInput(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		}
		failed = os.NewSyscallError("poll", err)
		return n > 0 || err != nil
	})
	return errors.Join(err, failed)
}
