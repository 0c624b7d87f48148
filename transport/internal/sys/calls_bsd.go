//go:build unix && !linux

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func GetOption(fd, level, option int) (int, error) { return unix.GetsockoptInt(fd, level, option) }

func LocalFamily(fd int) (int, error) { return familyOf(unix.Getsockname(fd)) }
func PeerFamily(fd int) (int, error)  { return familyOf(unix.Getpeername(fd)) }

// familyOf is the family of a name; AF_UNSPEC for a family that x/sys does not know.
func familyOf(name unix.Sockaddr, err error) (int, error) {
	switch name.(type) {
	case *unix.SockaddrInet4:
		return unix.AF_INET, err
	case *unix.SockaddrInet6:
		return unix.AF_INET6, err
	case *unix.SockaddrUnix:
		return unix.AF_UNIX, err
	}
	return unix.AF_UNSPEC, err
}

// BrokenEvents tell a connection that has ended from a socket that has never been connected.
const BrokenEvents = unix.POLLERR | unix.POLLHUP

// FailedEvents tell a connection that has ended, perhaps by an error.
const FailedEvents = BrokenEvents

// OpenDirectory opens a directory.
const OpenDirectory = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// HasPeer reports whether a socket is connected.
func HasPeer(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}

// mostBytes is the most that one call is given: those of Darwin and FreeBSD refuse 2 GB and more.
// See internal/poll of the Go library, maxRW.
const mostBytes = 1 << 30

func Read(fd int, p []byte) (int, error) {
	n, err := unix.Read(fd, p[:min(len(p), mostBytes)])
	return max(n, 0), err
}

func Write(fd int, p []byte) (int, error) {
	n, err := unix.Write(fd, p[:min(len(p), mostBytes)])
	return max(n, 0), err
}

const fionread = 0x4004667f // FIONREAD

// Readable asks FIONREAD, which writes 32 bits: the first ones of an int, whichever end of it they
// are.
func Readable(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, fionread)
	return int(*(*int32)(unsafe.Pointer(&n))), err
}
