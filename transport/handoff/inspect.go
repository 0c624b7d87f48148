package handoff

import (
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// A Socket describes the socket behind a descriptor. What its sender says of it may be untrue: look
// before use.
type Socket struct {
	Domain    int            // AF_INET, AF_INET6, AF_UNIX, …
	Type      int            // SOCK_STREAM, SOCK_DGRAM, …
	Protocol  int            // IPPROTO_TCP, …; -1 where the system does not say
	Listening bool           // it accepts connections
	Local     transport.Addr // nil: an address of a kind that package transport does not know
	Remote    transport.Addr // nil: not connected
}

// Inspect tells what a descriptor is, and changes nothing: ENOTSOCK if it is no socket, EBADF if it
// is not open. errors.ErrUnsupported on windows.
func Inspect(fd int) (Socket, error) {
	s, err := inspect(fd)
	return s, fault.Failed("inspect", nil, err)
}

// Stream checks that the socket is a connected stream: EINVAL if it is of another type or listens,
// ENOTCONN if it is not connected.
func (s Socket) Stream() error {
	switch {
	case s.Type != syscall.SOCK_STREAM:
		return fmt.Errorf("socket of type %d is not one of streams: %w", s.Type, syscall.EINVAL)
	case s.Listening:
		return fmt.Errorf("the socket listens at %v: %w", s.Local, syscall.EINVAL)
	case s.Remote == nil:
		return fmt.Errorf("the socket at %v: %w", s.Local, syscall.ENOTCONN)
	}
	return nil
}

// Listener checks that the socket listens: EINVAL if it does not.
func (s Socket) Listener() error {
	if !s.Listening {
		return fmt.Errorf("the socket at %v does not listen: %w", s.Local, syscall.EINVAL)
	}
	return nil
}

// Lend calls send with the descriptors of conns, in their order, and keeps each of them open
// meanwhile. It is the way to send descriptors of package net or os without File or Fd, which
// change the blocking mode for all processes that share the socket. If a conn is closed, Lend
// returns its error and does not call send.
func Lend(send func(fds []int) error, conns ...syscall.Conn) error {
	fds := make([]int, 0, len(conns))
	var lend func(rest []syscall.Conn) error
	lend = func(rest []syscall.Conn) (err error) {
		if len(rest) == 0 {
			return send(fds)
		}
		raw, err := rest[0].SyscallConn()
		if err != nil {
			return err
		}
		e := raw.Control(func(fd uintptr) {
			fds = append(fds, int(fd))
			err = lend(rest[1:])
		})
		if e != nil {
			return e
		}
		return err
	}
	return lend(conns)
}
