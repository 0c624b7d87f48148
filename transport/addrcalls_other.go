//go:build unix && !linux

package transport

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

func acceptFD(fd int) (int, Addr, error) {
	accepted, from, err := sys.Accept(fd)
	if err != nil {
		return -1, nil, err
	}
	return accepted, FromSockaddr(from), nil
}

func connectFD(fd int, addr Addr, _ time.Duration) error {
	sa, err := ToSockaddr(addr)
	if err != nil {
		return err
	}
	return unix.Connect(fd, sa)
}

func bindFD(fd int, addr Addr) error {
	sa, err := ToSockaddr(addr)
	if err != nil {
		return err
	}
	return unix.Bind(fd, sa)
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
