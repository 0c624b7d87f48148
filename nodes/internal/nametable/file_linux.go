package nametable

import (
	"os"

	"golang.org/x/sys/unix"
)

// sharedFile makes a file in memory, for several processes.
func sharedFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
