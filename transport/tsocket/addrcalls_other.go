//go:build unix && !linux

package tsocket

import (
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

func bindFD(fd int, addr transport.Addr) error {
	sa, err := transport.ToSockaddr(addr)
	if err != nil {
		return err
	}
	return unix.Bind(fd, sa)
}

func connectFD(fd int, addr transport.Addr) error {
	sa, err := transport.ToSockaddr(addr)
	if err != nil {
		return err
	}
	return unix.Connect(fd, sa)
}

func localAddrFD(fd int) (transport.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	return transport.FromSockaddr(sa), nil
}

func peerAddrFD(fd int) (transport.Addr, error) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return nil, err
	}
	return transport.FromSockaddr(sa), nil
}
