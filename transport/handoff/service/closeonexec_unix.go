//go:build unix

package service

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// closeOnExec keeps a descriptor from the programs that this one starts.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// dup is another descriptor of the same socket, in the mode that it has.
func dup(fd int, name string) (*os.File, error) {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(other), name), nil
}
