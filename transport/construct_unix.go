//go:build unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

func connectTCP(ctx context.Context, local, remote Addr) (*Stream, error) {
	cb := TCPCallbacks()
	if local != nil {
		socket := cb.Socket
		cb.Socket = func(setup any, addr Addr) (int, error) {
			fd, err := socket(setup, addr)
			if err != nil {
				return -1, err
			}
			if err := bindInet(fd, local, true); err != nil {
				return -1, errors.Join(ofLocal(local, err), unix.Close(fd))
			}
			return fd, nil
		}
	}
	return newPlugin(cb, nil, true).Connect(ctx, remote)
}

// ofLocal names the local address in an error that is going to name the remote one.
func ofLocal(local Addr, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("local address %v: %w", local, err)
}

// bindInet binds to a local address; share allows a port on which old connections linger.
func bindInet(fd int, local Addr, share bool) error {
	if port, _ := Port(local); port != 0 && share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
		}
	}
	return os.NewSyscallError("bind", bindFD(fd, local))
}

func connectUnix(ctx context.Context, local, remote Addr) (*Stream, error) {
	cb := UnixCallbacks()
	socket := cb.Socket
	cb.Socket = func(setup any, addr Addr) (*UnixSocket, error) {
		u, err := socket(setup, addr)
		if err != nil {
			return nil, err
		}
		path, err := bindUnix(u.fd, local)
		if err != nil {
			return nil, errors.Join(ofLocal(local, err), unix.Close(u.fd))
		}
		if path != "" {
			u.file.Store(fileAt(UnixAddr(path)))
		}
		return u, nil
	}
	return newPlugin(cb, nil, true).Connect(ctx, remote)
}

// bindUnix gives a UNIX socket its name, if it has one, and returns the path that must be removed.
func bindUnix(fd int, local Addr) (path string, err error) {
	if path, err = UnixPath(local); err != nil || path == "" {
		return "", err
	}
	if err := bindFD(fd, local); err != nil {
		return "", os.NewSyscallError("bind", err)
	}
	if isAbstract(path) {
		return "", nil
	}
	return path, nil
}

func unixStreams() (one, other *Stream, err error) {
	fds, err := sys.SocketPair()
	if err != nil {
		return nil, nil, err
	}
	one, err = importUnnamed(sys.Raised(fds[0], nil))
	if err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[1]))
	}
	other, err = importUnnamed(sys.Raised(fds[1], nil))
	if err != nil {
		return nil, nil, errors.Join(err, one.Close())
	}
	return one, other, nil
}

// importUnnamed makes a Stream of one end of a pair, unless there is an error already. It owns fd,
// on failure too.
func importUnnamed(fd int, err error) (*Stream, error) {
	if err != nil {
		return nil, err
	}
	s, err := Unix().Import(fd, nil)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	s.remote = UnixAddr("")
	return s, nil
}

func openUDP(local, remote Addr) (*Datagram, error) {
	of := remote
	if of == nil {
		of = local
	}
	af, err := family(of)
	if err != nil {
		return nil, err
	}
	return openDatagram(af, remote, func(fd int) error {
		if af == unix.AF_INET6 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
				return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
			}
		}
		if local == nil {
			return nil
		}
		err := bindInet(fd, local, false)
		if remote != nil {
			err = ofLocal(local, err)
		}
		return err
	})
}

func openUnixgram(local, remote Addr) (*Datagram, error) {
	made := ""
	d, err := openDatagram(unix.AF_UNIX, remote, func(fd int) (err error) {
		path, _ := UnixPath(local)
		inTurn(path, func() {
			made, err = bindUnix(fd, local)
			if errors.Is(err, unix.EADDRINUSE) && removeStale(path) {
				made, err = bindUnix(fd, local)
			}
		})
		if remote != nil {
			err = ofLocal(local, err)
		}
		return err
	})
	if err != nil && made != "" {
		_ = os.Remove(made)
	}
	return d, err
}

// openDatagram makes a socket, calls bind for it, and connects it if there is a remote address.
func openDatagram(af int, remote Addr, bind func(fd int) error) (*Datagram, error) {
	fd, err := sys.Socket(af, unix.SOCK_DGRAM)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = bind(fd); err == nil && remote != nil {
		err = os.NewSyscallError("connect", connectFD(fd, remote, 0))
	}
	var d *Datagram
	if err == nil {
		d, err = ownDatagram(fd, remote)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return d, nil
}

// A found is what a descriptor turned out to be.
type found struct {
	kind      int // SOCK_STREAM, …
	listening bool
	local     Addr
	remote    Addr // nil: not connected
}

// inspect tells what a descriptor is.
func inspect(fd int) (f found, err error) {
	if f.kind, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return f, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	if f.local, err = localAddrFD(fd); err != nil {
		return f, os.NewSyscallError("getsockname", err)
	}
	if f.local == nil {
		return f, fmt.Errorf("the socket is neither an inet nor a UNIX one: %w", unix.EAFNOSUPPORT)
	}
	if f.kind == unix.SOCK_STREAM {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		f.listening = err == nil && n != 0
	}
	f.remote = mustAddr(peerAddrFD(fd))
	return f, nil
}

func (f *found) plugin() Transport {
	if _, ok := f.local.(UnixAddr); ok {
		return Unix()
	}
	return TCP()
}

func adoptStream(fd int) (*Stream, error) {
	f, err := inspect(fd)
	switch {
	case err != nil:
		return nil, err
	case f.kind != unix.SOCK_STREAM:
		return nil, fmt.Errorf("the socket is not one of streams: %w", unix.EINVAL)
	case f.listening:
		return nil, fmt.Errorf("the socket listens: %w", unix.EINVAL)
	case f.remote == nil:
		return nil, unix.ENOTCONN
	}
	return takeOver(fd, func(own int) (*Stream, error) {
		s, err := f.plugin().Import(own, nil)
		if err == nil {
			s.remote = f.remote
		}
		return s, err
	})
}

func adoptListener(fd int) (*Listener, error) {
	f, err := inspect(fd)
	switch {
	case err != nil:
		return nil, err
	case f.kind != unix.SOCK_STREAM || !f.listening:
		return nil, fmt.Errorf("the socket does not listen: %w", unix.EINVAL)
	}
	return takeOver(fd, f.plugin().ImportListener)
}

// takeOver calls adopt with a duplicate of fd and closes fd; if adopt fails, fd stays as it was.
func takeOver[T any](fd int, adopt func(own int) (T, error)) (t T, err error) {
	own, err := sys.Dup(fd)
	if err != nil {
		return t, err
	}
	if t, err = adopt(own); err != nil {
		return t, errors.Join(err, unix.Close(own))
	}
	_ = unix.Close(fd)
	return t, nil
}

func adoptDatagram(fd int) (*Datagram, error) {
	f, err := inspect(fd)
	switch {
	case err != nil:
		return nil, err
	case f.kind != unix.SOCK_DGRAM:
		return nil, fmt.Errorf("the socket is not one of datagrams: %w", unix.EINVAL)
	}
	if port, err := Port(f.local); err == nil && port == 0 {
		if err := bindFD(fd, f.local); err != nil {
			return nil, os.NewSyscallError("bind", err)
		}
	}
	return ownDatagram(fd, f.remote)
}
