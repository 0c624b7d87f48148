package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// PacketPair makes two connected UNIX sockets without names (socketpair(2)), of sequenced packets
// (SOCK_SEQPACKET), close-on-exec. Both are the caller's. Packets keep the boundaries of messages:
// a Read takes one whole packet, and loses what its buffer has no room for. A packet holds no more
// than the socket's send buffer, 208 KiB on Linux unless net.core.wmem_default says otherwise.
//
// Both ends are in blocking mode, which each has for itself, so that one can go to a process that
// expects it so. A Read or Write of such a file has no deadline, and Close does not end it: for an
// end that stays in this process, FileConn makes a connection. errors.ErrUnsupported where there
// are no such sockets (darwin, windows).
func PacketPair() (one, other *os.File, err error) {
	if err := sock.Sequenced(syscall.SOCK_SEQPACKET); err != nil {
		return nil, nil, fault.Failed("socketpair", nil, err)
	}
	return sock.Pair(syscall.SOCK_SEQPACKET)
}

// FileConn makes a connection of a file that is a UNIX socket, an attachment say. On success f is
// closed; else it stays the caller's. ENOTSOCK if f is no socket, EAFNOSUPPORT for a socket of
// another family.
func FileConn(f *os.File) (*net.UnixConn, error) {
	c, err := sharedConn(f)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, fault.Failed("adopt", transport.FromNetAddr(c.LocalAddr()), errors.Join(err, c.Close()))
	}
	return c, nil
}

// sharedConn is FileConn that leaves f open.
func sharedConn(f *os.File) (*net.UnixConn, error) {
	var s Socket
	if err := Lend(func(fds []int) (err error) { s, err = Inspect(fds[0]); return err }, f); err != nil {
		return nil, err
	}
	if s.Domain != syscall.AF_UNIX {
		return nil, fault.Failed("adopt", s.Local, fmt.Errorf("socket of family %d: %w", s.Domain, syscall.EAFNOSUPPORT))
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fault.Failed("adopt", s.Local, err)
	}
	return c.(*net.UnixConn), nil
}
