//go:build unix && !linux

package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

func closeFD(fd int) error                  { return unix.Close(fd) }
func closeSocket(fd int) error              { return unix.Close(fd) }
func fcntlFD(fd, cmd, arg int) (int, error) { return unix.FcntlInt(uintptr(fd), cmd, arg) }
func setOption(fd, level, option, value int) error {
	return unix.SetsockoptInt(fd, level, option, value)
}
func getOption(fd, level, option int) (int, error) { return unix.GetsockoptInt(fd, level, option) }

func bindFD(fd int, addr Addr) error {
	sa, err := ToSockaddr(addr)
	if err != nil {
		return err
	}
	return unix.Bind(fd, sa)
}

func connectFD(fd int, addr Addr, _ time.Duration) error {
	sa, err := ToSockaddr(addr)
	if err != nil {
		return err
	}
	return unix.Connect(fd, sa)
}

func localAddrFD(fd int) (Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	return FromSockaddr(sa), nil
}

func peerAddrFD(fd int) (Addr, error) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return nil, err
	}
	return FromSockaddr(sa), nil
}

func localFamilyFD(fd int) (int, error) { return familyOf(unix.Getsockname(fd)) }
func peerFamilyFD(fd int) (int, error)  { return familyOf(unix.Getpeername(fd)) }

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

// brokenEvents tell a connection that has ended from a socket that has never been connected.
const brokenEvents = unix.POLLERR | unix.POLLHUP

// failedEvents tell a connection that has ended, perhaps by an error.
const failedEvents = brokenEvents

// hasPeer reports whether a socket is connected.
func hasPeer(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}
