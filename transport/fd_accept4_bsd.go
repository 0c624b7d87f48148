//go:build freebsd || dragonfly

package transport

import "golang.org/x/sys/unix"

func acceptFD(fd int) (int, Addr, error) {
	nfd, sa, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, nil, err
	}
	return nfd, FromSockaddr(sa), nil
}
