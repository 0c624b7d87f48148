package handoff

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// memoryFile makes a memory file that holds p, with its offset at the beginning.
func memoryFile(name string, p []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return stolen, os.NewSyscallError("memfd_create", err)
	}
	if err := fill(fd, p); err != nil {
		_ = unix.Close(fd)
		return stolen, err
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

// memoryFiles says that this system has memory files, and seals for them.
const memoryFiles = true

// seals are those of a state's file: no process that has the file can change it any more.
const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// sealedFile makes a memory file that holds p and can never be changed again.
func sealedFile(name string, p []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return stolen, os.NewSyscallError("memfd_create", err)
	}
	if err = fill(fd, p); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		err = os.NewSyscallError("fcntl F_ADD_SEALS", err)
	}
	if err != nil {
		_ = unix.Close(fd)
		return stolen, err
	}
	return fd, nil
}

// sealedState reads a state of size bytes from the one descriptor in a set, and closes the set.
func sealedState(set *FDSet, size, limit int) ([]byte, error) {
	defer set.Close()
	fd, err := set.FD(0)
	if err != nil {
		return nil, malformed("a state in a descriptor that did not come")
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes announced, of %d that are taken", ErrLimit, size, limit)
	}
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, malformed("a state in a file that others could change (seals %#x, %v)", got, err)
	}
	p, err := readMemoryFile(fd, size)
	if errors.Is(err, syscall.EMSGSIZE) || err == nil && len(p) != size {
		return nil, malformed("a state whose file has not the %d bytes that were announced", size)
	}
	return p, err
}

// readMemoryFile reads all of a memory file. It makes sure of the kind by asking for seals, which
// only memory files have: another descriptor could block its reader for ever.
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
		case n == 0: // the sender has made it shorter meanwhile
			return p[:at], nil
		default:
			at += n
		}
	}
	return p, nil
}
