//go:build unix

package nodes

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// withdraw ends a connection for every process that has a descriptor of it.
func withdraw(s handedSocket) {
	if fd, err := s.Descriptor(); err == nil {
		_ = syscall.Shutdown(fd, syscall.SHUT_RDWR)
	}
}

// streamPair makes two connected sockets for other processes, or for Import.
func streamPair() (one, other int, err error) {
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
	if one, err = duplicate(fda); err != nil {
		return -1, -1, err
	}
	if other, err = duplicate(fdb); err != nil {
		_ = closeDescriptor(one)
		return -1, -1, err
	}
	return one, other, nil
}

// awaitInput waits until there is something to read on a socket, which stays there, or its other end is closed.
func awaitInput(conn *net.UnixConn) error {
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

// fileOf makes a file of a descriptor, which it owns.
func fileOf(fd int) *os.File { return os.NewFile(uintptr(fd), "socket") }
