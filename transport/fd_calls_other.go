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

// hasPeer reports whether a socket is connected.
func hasPeer(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}
