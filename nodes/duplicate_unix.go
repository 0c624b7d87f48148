//go:build unix

package nodes

import (
	"os"

	"golang.org/x/sys/unix"
)

// duplicate makes a second descriptor of what fd is; it is not inherited by programs that are started.
func duplicate(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return dup, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}

func closeOnExec(fd int) { unix.CloseOnExec(fd) }

func closeDescriptor(fd int) error { return os.NewSyscallError("close", unix.Close(fd)) }
