//go:build unix

package transport

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// families reports whether sockets of an address family are those of one of the plug-ins over
// system calls.
type families func(af int) bool

func inetFamily(af int) bool { return af == unix.AF_INET || af == unix.AF_INET6 }
func unixFamily(af int) bool { return af == unix.AF_UNIX }

// checkImported refuses a descriptor that is no stream socket of such a family, connected or
// listening. The descriptor comes from another process, and the mistake must show before that
// process lets go of it. For a connection, such as each session that a front hands out, the check
// costs two system calls.
func checkImported(fd int, of families) (listening bool, err error) {
	kind, err := sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err != nil:
		return false, fmt.Errorf("descriptor %d: %w", fd, os.NewSyscallError("getsockopt SO_TYPE", err))
	case kind != unix.SOCK_STREAM:
		return false, fmt.Errorf("descriptor %d is a socket of type %d, not one of streams: %w", fd, kind, unix.EINVAL)
	}
	af, err := sys.PeerFamily(fd)
	if err != nil {
		on, e := sys.GetOption(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if listening = e == nil && on != 0; !listening && !hasBroken(fd) {
			return false, fmt.Errorf("descriptor %d neither listens nor is connected: %w", fd, unix.ENOTCONN)
		}
		if af, err = sys.LocalFamily(fd); err != nil {
			return false, fmt.Errorf("descriptor %d: %w", fd, os.NewSyscallError("getsockname", err))
		}
	}
	if !of(af) {
		return false, fmt.Errorf("descriptor %d is a socket of another kind, family %d: %w", fd, af, unix.EAFNOSUPPORT)
	}
	return listening, nil
}

// checkRole is checkImported for a descriptor that has to be a listener, or has to be a connection.
func checkRole(fd int, of families, listener bool) error {
	listening, err := checkImported(fd, of)
	switch {
	case err != nil:
		return err
	case listening && !listener:
		return fmt.Errorf("descriptor %d listens, and is no connection: %w", fd, unix.EINVAL)
	case listener && !listening:
		return fmt.Errorf("descriptor %d is a connection, and does not listen: %w", fd, unix.EINVAL)
	}
	return nil
}

// hasBroken reports whether a socket without a peer is a connection that its peer, or the network,
// has ended, rather than one that has never been connected: the next read then gets an error or the
// end. Such a connection is imported like any other, so that it does not keep back those that are
// handed off together with it.
func hasBroken(fd int) bool { return sys.HasEvent(fd, sys.BrokenEvents) }
