//go:build unix

package handoff

import (
	"os"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"golang.org/x/sys/unix"
)

func inspect(fd int) (s Socket, err error) {
	if s.Type, err = system.Option(fd, unix.SO_TYPE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	local, err := unix.Getsockname(fd)
	if err != nil && err != unix.EAFNOSUPPORT { // from x/sys, for families that it does not know
		return s, os.NewSyscallError("getsockname", err)
	}
	s.Local = transport.FromSockaddr(local)
	if s.Domain, s.Protocol, err = domain(fd); err != nil {
		return s, err
	}
	listening, err := system.Option(fd, unix.SO_ACCEPTCONN)
	s.Listening = err == nil && listening != 0
	if remote, err := unix.Getpeername(fd); err == nil {
		s.Remote = transport.FromSockaddr(remote)
	}
	return s, nil
}
