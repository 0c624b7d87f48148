package handoff

import (
	"os"

	"golang.org/x/sys/unix"
)

func domain(fd int, _ unix.Sockaddr) (domain, protocol int, err error) {
	if domain, err = socketFamily(fd); err != nil {
		return 0, 0, err
	}
	protocol, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return domain, protocol, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
}

func socketFamily(fd int) (int, error) {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return family, os.NewSyscallError("getsockopt SO_DOMAIN", err)
}
