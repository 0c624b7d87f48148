// Package inside is what the carriers, in packages below handoff, have of a handoff.Conn beside its
// methods.
package inside

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A Conn is the inside of a handoff.Conn.
type Conn interface {
	syscall.RawConn
	// Borrow makes a zero handoff.Conn one of a socket that stays with package net.
	Borrow(conn *net.UnixConn) error
	// Own takes the socket from package net, which may cost less.
	Own()
	// TellEmpty makes empty packets of a connection differ from its end, if the system can.
	TellEmpty() error
	// SendParts is Send of head and p as one message, to an address unless to is nil.
	SendParts(ctx context.Context, to transport.Addr, head, p []byte, fds []int) error
	// TryParts is TrySend of head and p as one message.
	TryParts(head, p []byte, fds []int) (n int, err error)
	// CloseWrite ends the sending direction.
	CloseWrite() error
	// Kind is the type of the socket, SOCK_STREAM say.
	Kind() int
	// Peer is the address that the socket is connected to; nil: none.
	Peer() transport.Addr
	// Distrust marks an empty set as one of descriptors that a stranger sends: neither Close nor File
	// waits for what he has made.
	Distrust(set *handoff.FDSet)
}

// Of is the inside of a handoff.Conn.
func Of(c *handoff.Conn) Conn {
	raw, _ := c.SyscallConn() // has no error
	return raw.(Conn)
}

// Borrow makes a handoff.Conn of a socket that stays with package net, and returns its inside, too.
func Borrow(conn *net.UnixConn) (*handoff.Conn, Conn, error) {
	c := new(handoff.Conn)
	in := Of(c)
	if err := in.Borrow(conn); err != nil {
		return nil, nil, err
	}
	return c, in, nil
}

// Pair makes a carrier of each of two sockets, which it owns.
func Pair[C any](a, b *os.File, carrier func(*net.UnixConn) (C, error)) (one, other C, err error) {
	defer a.Close()
	defer b.Close()
	first, err := handoff.FileConn(a)
	if err != nil {
		return one, other, err
	}
	second, err := handoff.FileConn(b)
	if err == nil {
		if one, err = carrier(first); err == nil {
			if other, err = carrier(second); err == nil {
				return one, other, nil
			}
		}
		err = errors.Join(err, second.Close())
	}
	var none C
	return none, none, errors.Join(err, first.Close())
}
