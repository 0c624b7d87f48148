package handoff

import (
	"os"

	"golang.org/x/sys/unix"
)

func domain(fd int, _ unix.Sockaddr) (domain, protocol int, err error) {
	if domain, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return 0, 0, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	protocol, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return domain, protocol, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
}
