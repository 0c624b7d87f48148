// Package sock makes UNIX sockets for package handoff and the carriers below it: pairs, listeners
// whose files go with them, datagram sockets with a name.
package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// Pair makes two connected UNIX sockets of a type, close-on-exec and in blocking mode.
func Pair(kind int) (one, other *os.File, err error) {
	fds, err := socketPair(kind)
	if err != nil {
		return nil, nil, fault.Failed("socketpair", nil, err)
	}
	return os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair"), nil
}

// Sequenced returns an error if kind is not that of sequenced packets, errors.ErrUnsupported on
// systems without them.
func Sequenced(kind int) error {
	switch {
	case !hasPackets:
		return fmt.Errorf("no UNIX sockets of sequenced packets on this system: %w", errors.ErrUnsupported)
	case kind != syscall.SOCK_SEQPACKET:
		return fmt.Errorf("the socket is not one of sequenced packets: %w", syscall.EINVAL)
	}
	return nil
}

// DialPackets connects a socket of sequenced packets to a path.
func DialPackets(ctx context.Context, path string) (*net.UnixConn, error) {
	if err := Sequenced(syscall.SOCK_SEQPACKET); err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// ListenPackets makes a listener of sequenced packets, and the Pin of its file.
func ListenPackets(addr transport.Addr, path string) (*Acceptor, *Pin, error) {
	if err := Sequenced(syscall.SOCK_SEQPACKET); err != nil {
		return nil, nil, err
	}
	var l *net.UnixListener
	pin, err := pinned(addr, func() (err error) {
		l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
		return err
	})
	if err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return nil, nil, err
	}
	return NewAcceptor(l), pin, nil
}
