//go:build unix

package transport

import "golang.org/x/sys/unix"

// The system calls that the TCP and UNIX plug-ins share, in the form of callbacks on a descriptor.

func newSocketFD(addr Addr) (int, error) {
	af, err := family(addr)
	if err != nil {
		return -1, err
	}
	return socketFD(af, unix.SOCK_STREAM)
}

func bindAndListen(fd int, addr Addr, backlog int) (Addr, error) {
	sa, err := ToSockaddr(addr)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, err
	}
	return localAddrFD(fd)
}
