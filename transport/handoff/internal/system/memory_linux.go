package system

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"golang.org/x/sys/unix"
)

// MemoryFile makes a memory file that holds p, with its offset at the beginning.
func MemoryFile(name string, p []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if err := fill(fd, p); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func fill(fd int, p []byte) error {
	for at := 0; at < len(p); {
		n, err := unix.Pwrite(fd, p[at:], int64(at))
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("pwrite", err)
		}
		at += max(n, 0)
	}
	return nil
}

// MemoryFiles says that this system has memory files, and seals for them.
const MemoryFiles = true

// Seals are those of a state's file: no process that has the file can change it any more.
const Seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// SealedFile makes a memory file that holds p and can never be changed again.
func SealedFile(name string, p []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if err = fill(fd, p); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, Seals)
		err = os.NewSyscallError("fcntl F_ADD_SEALS", err)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ReadMemoryFile reads all of a memory file. It makes sure of the kind by asking for seals, which
// only memory files have: another descriptor could block its reader for ever.
func ReadMemoryFile(fd, limit int) ([]byte, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return nil, fault.Malformed("a payload in a descriptor that is no memory file: %v", err)
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
			return nil, fault.Malformed("a payload that cannot be read: %v", err)
		case n == 0: // the sender has made it shorter meanwhile
			return p[:at], nil
		default:
			at += n
		}
	}
	return p, nil
}
