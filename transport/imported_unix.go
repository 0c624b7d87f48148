//go:build unix

package transport

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// families tells which sockets are those of one of the plug-ins over system calls.
type families func(af int) bool

func inetFamily(af int) bool { return af == unix.AF_INET || af == unix.AF_INET6 }
func unixFamily(af int) bool { return af == unix.AF_UNIX }

// checkImported refuses a descriptor that is no socket of streams of such a family, connected or listening. It comes from elsewhere, and
// whoever takes it is to find out before the one who gave it lets go. A connection costs two system calls here, as each session does that
// a front hands out.
func checkImported(fd int, of families) (listening bool, err error) {
	kind, err := getOption(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err != nil:
		return false, fmt.Errorf("descriptor %d: %w", fd, os.NewSyscallError("getsockopt SO_TYPE", err))
	case kind != unix.SOCK_STREAM:
		return false, fmt.Errorf("descriptor %d is a socket of type %d, not one of streams: %w", fd, kind, unix.EINVAL)
	}
	af, err := peerFamilyFD(fd)
	if err != nil {
		on, e := getOption(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if listening = e == nil && on != 0; !listening && !hasBroken(fd) {
			return false, fmt.Errorf("descriptor %d neither listens nor is connected: %w", fd, unix.ENOTCONN)
		}
		if af, err = localFamilyFD(fd); err != nil {
			return false, fmt.Errorf("descriptor %d: %w", fd, os.NewSyscallError("getsockname", err))
		}
	}
	if !of(af) {
		return false, fmt.Errorf("descriptor %d is a socket of another kind, family %d: %w", fd, af, unix.EAFNOSUPPORT)
	}
	return listening, nil
}

// checkRole is checkImported where it is known what the descriptor has to be.
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

// hasBroken tells a connection that its peer, or the network, has ended from a socket that has never been one: it has no peer either, but
// an error or an end for whoever reads next. It comes along with others, and does not keep them back.
func hasBroken(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	for {
		n, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return err == nil && n > 0 && p[0].Revents&brokenEvents != 0
		}
	}
}
