// Package sock makes UNIX sockets for package handoff and the carriers below it: pairs, listeners
// whose files go with them, datagram sockets with a name.
package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Pair makes two connected UNIX sockets of a type, close-on-exec and in blocking mode.
func Pair(kind int) (one, other *os.File, err error) {
	fds, err := sys.SocketPair(kind)
	if err != nil {
		return nil, nil, fault.Failed("socketpair", nil, err)
	}
	return os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair"), nil
}

// hasPackets tells whether the system has UNIX sockets of sequenced packets.
const hasPackets = runtime.GOOS == "linux" || runtime.GOOS == "android" || runtime.GOOS == "freebsd" ||
	runtime.GOOS == "netbsd" || runtime.GOOS == "openbsd" || runtime.GOOS == "dragonfly"

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

// AutobindName returns an empty name, for which Linux's bind(2) chooses an abstract one: unix(7),
// "Autobind feature". Other systems do not choose names themselves: there it makes a new directory,
// and returns the name of a socket in it.
func AutobindName() (name, dir string, err error) {
	if sys.AbstractNames {
		return "", "", nil
	}
	if dir, err = os.MkdirTemp("", "json"); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "s"), dir, nil
}
