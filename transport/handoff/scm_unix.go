//go:build unix

package handoff

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"golang.org/x/sys/unix"
)

// socketKind returns the type of a socket (SO_TYPE).
func socketKind(raw syscall.RawConn) (kind int, err error) {
	e := raw.Control(func(fd uintptr) {
		kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	})
	if e != nil {
		return 0, e
	}
	return kind, os.NewSyscallError("getsockopt SO_TYPE", err)
}

// settle stores in i a message of n bytes that has been received into p, and its descriptors. Its
// error says why the message is lost.
func (i *incoming) settle(n int, control []byte, flags int, credentials bool) error {
	i.n = min(n, len(i.p))
	var got parsed
	var err error
	i.fds, got = parseAncillary(i.fds[:0], control)
	i.cred, i.hasCred = got.cred, got.hasCred
	i.fds, err = system.Arrived(i.fds)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDescriptorsLost, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err))
	// there was room for more than was asked for
	case flags&unix.MSG_CTRUNC != 0 || len(i.fds) > i.room:
		return ErrDescriptorsLost
	case flags&unix.MSG_TRUNC != 0:
		return ErrTruncated
	case got.foreign || got.hasCred && !credentials:
		return ErrAncillary
	}
	return nil
}
