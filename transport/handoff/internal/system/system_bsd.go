//go:build unix && !linux

package system

import (
	"os"

	"golang.org/x/sys/unix"
)

// Close closes a descriptor.
func Close(fd int) error { return unix.Close(fd) }

// File makes a file of a received descriptor.
func File(fd int, name string) (*os.File, error) { return os.NewFile(uintptr(fd), name), nil }

// NotLingering switches off SO_LINGER: see system_linux.go.
func NotLingering(fd int) {
	if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err == nil && l.Onoff != 0 && l.Linger != 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	}
}

// Option reads an option of a socket itself (SOL_SOCKET).
func Option(fd, option int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
}

// Family returns the family of a socket (SO_DOMAIN, or that of its own address).
func Family(fd int) (int, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch local.(type) {
	case *unix.SockaddrInet4:
		return unix.AF_INET, nil
	case *unix.SockaddrInet6:
		return unix.AF_INET6, nil
	case *unix.SockaddrUnix:
		return unix.AF_UNIX, nil
	}
	return unix.AF_UNSPEC, nil
}
