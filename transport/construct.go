package transport

import (
	"cmp"
	"context"
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport/internal/bind"
)

// ListenTCP listens on an IPv4 or IPv6 address, as TCP().Listen does; EINVAL for an address of
// another kind. On most systems the wildcard of IPv6 takes connections over IPv4, too. A backlog of
// 0 is the system's largest.
func ListenTCP(local Addr, backlog int) (*Listener, error) {
	if _, err := AddrPort(local); err != nil {
		return nil, opError("listen", local, err)
	}
	return TCP().Listen(local, backlog)
}

// ListenUnix listens on a UNIX address, as Unix().Listen does; EINVAL for an address of another
// kind.
func ListenUnix(local Addr, backlog int) (*Listener, error) {
	if err := checkNamed(local); err != nil {
		return nil, opError("listen", local, err)
	}
	return Unix().Listen(FromNetAddr(plain(local)), backlog)
}

// ConnectTCP opens a connection from the local address to the remote one, both IPv4 or both IPv6,
// else EINVAL. A local address of nil, or the wildcard with port 0, leaves the choice to the
// system. The wildcard ::, which [ParseInet] makes for the family "ip", takes the family of the
// remote address. See tstream_inet_tcp_connect_send.
func ConnectTCP(ctx context.Context, local, remote Addr) (*Stream, error) {
	local, err := inetPair(local, remote)
	if err != nil {
		return nil, opError("connect", remote, err)
	}
	if err := ended(ctx); err != nil {
		return nil, opError("connect", remote, err)
	}
	return connectTCP(ctx, local, remote)
}

// ConnectUnix opens a connection to a listening UNIX socket. local is what the peer will see, nil
// or empty for an unnamed socket; a path is made, and removed when the stream is closed; one that
// is there already is EADDRINUSE, for nobody can tell whether a client still uses it. An address of
// another kind is EINVAL. See tstream_unix_connect_send; the guide wants an inet remote address
// there, which cannot be meant.
func ConnectUnix(ctx context.Context, local, remote Addr) (*Stream, error) {
	if err := cmp.Or(checkUnix(orUnnamed(local)), checkNamed(remote)); err != nil {
		return nil, opError("connect", remote, err)
	}
	if err := ended(ctx); err != nil {
		return nil, opError("connect", remote, err)
	}
	return connectUnix(ctx, orUnnamed(local), FromNetAddr(plain(remote)))
}

// UnixPair makes two UNIX streams that are connected to each other and have no names.
// errors.ErrUnsupported where the system has none (windows). See tstream_unix_socketpair.
func UnixPair() (one, other *Stream, err error) {
	one, other, err = unixStreams()
	return one, other, opError("socketpair", nil, err)
}

// AdoptStream makes a Stream of a connected TCP or UNIX stream descriptor. On success the stream
// owns the socket: fd is closed, and the socket lives on under a number of the stream's own, never
// 0, 1 or 2, close-on-exec and non-blocking; non-blocking mode also affects other processes that
// have the socket. On failure the descriptor stays the caller's: ENOTSOCK for what is no socket,
// EINVAL for a listener or a socket that is not a stream, ENOTCONN for one that is not connected,
// EAFNOSUPPORT for other families, EBADF. errors.ErrUnsupported on windows. See
// tstream_bsd_existing_socket, which leaves all this to its caller.
func AdoptStream(fd int) (*Stream, error) {
	s, err := adopt(fd, func(tr Transport, own int) (*Stream, error) { return tr.Import(own, nil) })
	return s, opError("adopt", nil, err)
}

// AdoptListener makes a Listener of a listening TCP or UNIX descriptor, as AdoptStream does of a
// connected one; EINVAL for a connection. Close removes the path of a UNIX socket.
func AdoptListener(fd int) (*Listener, error) {
	l, err := adopt(fd, Transport.ImportListener)
	return l, opError("adopt", nil, err)
}

// inetPair checks that both are inet addresses of one family; local may be nil. It returns the
// local one, which is in the remote one's family if it was the wildcard of IPv6, and so of family
// "ip".
func inetPair(local, remote Addr) (Addr, error) {
	r, err := AddrPort(remote)
	if err != nil || local == nil {
		return nil, err
	}
	l, err := AddrPort(local)
	if err != nil {
		return nil, err
	}
	l, ok := bind.OneFamily(l, r)
	if !ok {
		return nil, fmt.Errorf("addresses %v and %v are not of one family: %w", local, remote,
			syscall.EINVAL)
	}
	return FromAddrPort(l), nil
}

// checkUnix checks that it is a UNIX address.
func checkUnix(a Addr) error {
	_, err := UnixPath(a)
	return err
}

// checkNamed checks that it is a UNIX address at which a socket can be found.
func checkNamed(a Addr) error {
	path, err := UnixPath(a)
	if err == nil && path == "" {
		return errUnnamed
	}
	return err
}
