//go:build unix && !linux

package handoff

import (
	"os"

	"golang.org/x/sys/unix"
)

func domain(_ int, local unix.Sockaddr) (domain, protocol int, err error) {
	switch local.(type) {
	case *unix.SockaddrInet4:
		return unix.AF_INET, -1, nil
	case *unix.SockaddrInet6:
		return unix.AF_INET6, -1, nil
	case *unix.SockaddrUnix:
		return unix.AF_UNIX, -1, nil
	}
	return unix.AF_UNSPEC, -1, nil
}

func socketOption(fd, option int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
}

func socketFamily(fd int) (int, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	family, _, err := domain(fd, local)
	return family, err
}
