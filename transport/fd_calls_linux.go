package transport

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As in fd_io_linux.go, calls that never wait are made without telling the scheduler, which would wake its monitor thread for each call,
// beside a peer that has work to do.

// closeFD closes a descriptor that never lingers.
func closeFD(fd int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// closeSocket closes a socket. SO_LINGER may make that call wait, whatever mode the socket is in; an earlier owner of the socket, or of its
// listener, may have set it.
func closeSocket(fd int) error {
	var l unix.Linger
	size := uint32(unsafe.Sizeof(l))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && l.Onoff != 0 && l.Linger != 0 {
		return unix.Close(fd)
	}
	return closeFD(fd)
}

func fcntlFD(fd, cmd, arg int) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(arg))
	return result(n, errno)
}

func setOption(fd, level, option, value int) error {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)),
		unsafe.Sizeof(v), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func getOption(fd, level, option int) (int, error) {
	var v int32
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)),
		uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// acceptFD is for a descriptor in non-blocking mode. In blocking mode, which is for plug-ins that wait themselves, it tells the scheduler:
// a call that waited behind the scheduler's back would stop the whole program at the next garbage collection.
func acceptFD(fd int) (int, Addr, error) {
	var name [unix.SizeofSockaddrAny]byte
	size := uint32(len(name))
	var n uintptr
	var errno unix.Errno
	if mayWait(fd) {
		n, _, errno = unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_CLOEXEC, 0, 0)
	} else {
		n, _, errno = unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_CLOEXEC, 0, 0)
	}
	if errno != 0 {
		return -1, nil, errno
	}
	remote, err := ParseSockaddr(name[:min(int(size), len(name))])
	if err != nil { // another family, or a peer without a name
		remote = nil
	}
	return int(n), remote, nil
}

// connectFD is like acceptFD.
func connectFD(fd int, addr Addr, _ time.Duration) error {
	_, ok := unixAddr(addr)
	return nameToFD(unix.SYS_CONNECT, fd, addr, ok || mayWait(fd)) // to a UNIX socket it looks up a file, which may wait
}

func bindFD(fd int, addr Addr) error { return nameToFD(unix.SYS_BIND, fd, addr, true) }

// nameToFD makes a system call that takes an address; waits says that the call may wait. The functions of x/sys do not take the longest
// abstract names.
func nameToFD(trap uintptr, fd int, addr Addr, waits bool) error {
	var room [unix.SizeofSockaddrAny]byte
	name, err := AppendSockaddr(room[:0], addr)
	if err != nil {
		return err
	}
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

func localAddrFD(fd int) (Addr, error) { return nameFD(unix.SYS_GETSOCKNAME, fd) }
func peerAddrFD(fd int) (Addr, error)  { return nameFD(unix.SYS_GETPEERNAME, fd) }

// nameFD returns the address of one end of a socket; nil for families other than inet and UNIX. x/sys would ask for the protocol as well.
func nameFD(trap uintptr, fd int) (Addr, error) {
	var name [unix.SizeofSockaddrAny]byte
	size, errno := rawNameFD(trap, fd, &name)
	if errno != 0 {
		return nil, errno
	}
	a, err := ParseSockaddr(name[:size])
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	return a, err
}

func rawNameFD(trap uintptr, fd int, name *[unix.SizeofSockaddrAny]byte) (int, unix.Errno) {
	size := uint32(len(name))
	_, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&size)))
	return min(int(size), len(name)), errno
}

func localFamilyFD(fd int) (int, error) { return familyFD(unix.SYS_GETSOCKNAME, fd) }
func peerFamilyFD(fd int) (int, error)  { return familyFD(unix.SYS_GETPEERNAME, fd) }

// familyFD returns only the address family of one end of a socket, whatever family that is.
func familyFD(trap uintptr, fd int) (int, error) {
	var name [unix.SizeofSockaddrAny]byte
	if _, errno := rawNameFD(trap, fd, &name); errno != 0 {
		return 0, errno
	}
	return int(binary.NativeEndian.Uint16(name[:])), nil
}

// hasPeer reports whether a socket is connected.
func hasPeer(fd int) bool {
	var name [unix.SizeofSockaddrAny]byte
	_, errno := rawNameFD(unix.SYS_GETPEERNAME, fd, &name)
	return errno == 0
}

// brokenEvents tell a connection that has ended, by an error or on both sides, from a socket that has never been connected, which has
// POLLHUP alone.
const brokenEvents = unix.POLLERR | unix.POLLRDHUP

// failedEvents tell a connection that has ended by an error.
const failedEvents = unix.POLLERR

func isSocket(fd int) bool {
	_, err := getOption(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil
}
