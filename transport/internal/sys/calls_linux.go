package sys

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Name is room for a socket's address as the kernel writes it.
type Name = [unix.SizeofSockaddrAny]byte

// Accept may wait, for a descriptor in blocking mode, of a plug-in that waits itself. size is that
// of the peer's name.
func Accept(fd int, name *Name) (accepted, size int, err error) {
	length := uint32(len(name))
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&length)),
		unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, 0, errno
	}
	return int(n), min(int(length), len(name)), nil
}

// Connect takes no thread from the scheduler if it cannot wait; waits says that it may in any case.
func Connect(fd int, name []byte, waits bool) error {
	return nameTo(unix.SYS_CONNECT, fd, name, waits || MayWait(fd))
}

func Bind(fd int, name []byte) error { return nameTo(unix.SYS_BIND, fd, name, true) }

// nameTo makes a system call that takes an address; waits says that the call may wait. The
// functions of x/sys do not take the longest abstract names.
func nameTo(trap uintptr, fd int, name []byte, waits bool) error {
	var errno unix.Errno
	if waits {
		_, _, errno = unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	} else {
		_, _, errno = unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func GetOption(fd, level, option int) (int, error) {
	var v int32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// LocalName writes a socket's own name, and returns its size.
func LocalName(fd int, name *Name) (int, error) { return nameOf(unix.SYS_GETSOCKNAME, fd, name) }

// PeerName is the same for the peer.
func PeerName(fd int, name *Name) (int, error) { return nameOf(unix.SYS_GETPEERNAME, fd, name) }

// nameOf does not ask for the protocol, as x/sys would.
func nameOf(trap uintptr, fd int, name *Name) (int, error) {
	length := uint32(len(name))
	_, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&length)))
	if errno != 0 {
		return 0, errno
	}
	return min(int(length), len(name)), nil
}

func LocalFamily(fd int) (int, error) { return family(unix.SYS_GETSOCKNAME, fd) }
func PeerFamily(fd int) (int, error)  { return family(unix.SYS_GETPEERNAME, fd) }

// family returns only the address family of one end of a socket, whatever family that is.
func family(trap uintptr, fd int) (int, error) {
	var name Name
	if _, err := nameOf(trap, fd, &name); err != nil {
		return 0, err
	}
	return int(binary.NativeEndian.Uint16(name[:])), nil
}

// HasPeer reports whether a socket is connected.
func HasPeer(fd int) bool {
	var name Name
	_, err := nameOf(unix.SYS_GETPEERNAME, fd, &name)
	return err == nil
}

// BrokenEvents tell a connection that has ended, by an error or on both sides, from a socket that
// has never been connected, which has POLLHUP alone.
const BrokenEvents = unix.POLLERR | unix.POLLRDHUP

// FailedEvents tell a connection that has ended by an error.
const FailedEvents = unix.POLLERR

// OpenDirectory opens a directory: permission to search it is enough.
const OpenDirectory = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

func IsSocket(fd int) bool {
	_, err := GetOption(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil
}

const ErrIsolated = syscall.ENONET // of ICMP: the other host is cut off
