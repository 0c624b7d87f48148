//go:build unix

package handoff

import (
	"os"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
	"golang.org/x/sys/unix"
)

func inspect(fd int) (s Socket, err error) {
	if s.Type, err = sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	local, err := unix.Getsockname(fd)
	if err != nil && err != unix.EAFNOSUPPORT { // from x/sys, for families that it does not know
		return s, os.NewSyscallError("getsockname", err)
	}
	s.Local = transport.FromSockaddr(local)
	if s.Domain, err = sys.LocalFamily(fd); err != nil {
		return s, os.NewSyscallError("getsockname", err)
	}
	if s.Protocol, err = protocol(fd); err != nil {
		return s, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	listening, err := sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	s.Listening = err == nil && listening != 0
	if remote, err := unix.Getpeername(fd); err == nil {
		s.Remote = transport.FromSockaddr(remote)
	}
	return s, nil
}
