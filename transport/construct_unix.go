//go:build unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/bind"
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
			if err := bindInet(fd, local); err != nil {
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

// bindInet binds to a local address, also to a port on which old connections linger.
func bindInet(fd int, local Addr) error {
	if port, _ := Port(local); port != 0 {
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
		path, _ := UnixPath(local)
		if path == "" {
			return u, nil
		}
		if err := bindFD(u.fd, local); err != nil {
			return nil, errors.Join(ofLocal(local, os.NewSyscallError("bind", err)), unix.Close(u.fd))
		}
		u.file.Store(bind.FileAt(path))
		return u, nil
	}
	return newPlugin(cb, nil, true).Connect(ctx, remote)
}

func unixStreams() (one, other *Stream, err error) {
	fds, err := sys.SocketPair(unix.SOCK_STREAM)
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

// adopt calls imports with a duplicate of fd and closes fd; if imports fails, fd stays as it was.
func adopt[T any](fd int, imports func(tr Transport, own int) (T, error)) (t T, err error) {
	af, err := sys.LocalFamily(fd)
	if err != nil {
		return t, os.NewSyscallError("getsockname", err)
	}
	tr := TCP()
	if unixFamily(af) {
		tr = Unix()
	}
	own, err := sys.Dup(fd)
	if err != nil {
		return t, err
	}
	if t, err = imports(tr, own); err != nil {
		return t, errors.Join(err, unix.Close(own))
	}
	_ = unix.Close(fd)
	return t, nil
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
