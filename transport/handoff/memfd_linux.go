package handoff

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// memoryFile makes a file in memory that holds p, to be read from its beginning.
func memoryFile(name string, p []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return stolen, os.NewSyscallError("memfd_create", err)
	}
	for at := 0; at < len(p); {
		n, err := unix.Pwrite(fd, p[at:], int64(at))
		if err != nil && err != unix.EINTR {
			_ = unix.Close(fd)
			return stolen, os.NewSyscallError("pwrite", err)
		}
		at += max(n, 0)
	}
	return fd, nil
}

// readMemoryFile reads all of a memory file. Only a file in memory has seals; any other descriptor could keep its reader waiting for ever.
func readMemoryFile(fd, limit int) ([]byte, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return nil, malformed("a payload in a descriptor that is no memory file: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	if st.Size > int64(limit) {
		return nil, fmt.Errorf("a payload of %d bytes, more than %d: %w", st.Size, limit, syscall.EMSGSIZE)
	}
	p := make([]byte, st.Size)
	for at := 0; at < len(p); {
		n, err := unix.Pread(fd, p[at:], int64(at))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, malformed("a payload that cannot be read: %v", err)
		case n == 0: // it has been made shorter meanwhile
			return p[:at], nil
		default:
			at += n
		}
	}
	return p, nil
}
