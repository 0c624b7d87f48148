//go:build unix

package handoff

import (
	"os"

	"github.com/cnode-go/cnode/transport"
	"golang.org/x/sys/unix"
)

func inspect(fd int) (s Socket, err error) {
	if s.Type, err = socketOption(fd, unix.SO_TYPE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	local, err := unix.Getsockname(fd)
	if err != nil && err != unix.EAFNOSUPPORT { // from x/sys, for families that it does not know
		return s, os.NewSyscallError("getsockname", err)
	}
	s.Local = transport.FromSockaddr(local)
	if s.Domain, s.Protocol, err = domain(fd, local); err != nil {
		return s, err
	}
	listening, err := socketOption(fd, unix.SO_ACCEPTCONN)
	s.Listening = err == nil && listening != 0
	if remote, err := unix.Getpeername(fd); err == nil {
		s.Remote = transport.FromSockaddr(remote)
	}
	return s, nil
}

// socketType is a cheaper inspect, without addresses.
func socketType(fd int) (family, kind int, listening bool, err error) {
	if kind, err = socketOption(fd, unix.SO_TYPE); err != nil {
		return 0, 0, false, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	on, err := socketOption(fd, unix.SO_ACCEPTCONN)
	listening = err == nil && on != 0
	family, err = socketFamily(fd)
	return family, kind, listening, err
}
