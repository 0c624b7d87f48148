//go:build unix

package tsocket

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/bind"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

func openUDP(local, remote transport.Addr) (*Datagram, error) {
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
		err := os.NewSyscallError("bind", bindFD(fd, local))
		if remote != nil {
			err = ofLocal(local, err)
		}
		return err
	})
}

func openUnixgram(local, remote transport.Addr) (*Datagram, error) {
	made := ""
	d, err := openDatagram(unix.AF_UNIX, remote, func(fd int) (err error) {
		path, _ := transport.UnixPath(local)
		bind.InTurn(path, func() {
			made, err = bindUnix(fd, local)
			if errors.Is(err, unix.EADDRINUSE) && bind.RemoveStale(path) {
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

// bindUnix gives a UNIX socket its name, if it has one, and returns the path that must be removed.
func bindUnix(fd int, local transport.Addr) (path string, err error) {
	if path, err = transport.UnixPath(local); err != nil || path == "" {
		return "", err
	}
	if err := bindFD(fd, local); err != nil {
		return "", os.NewSyscallError("bind", err)
	}
	if sys.IsAbstract(path) {
		return "", nil
	}
	return path, nil
}

// openDatagram makes a socket, calls binds for it, and connects it if there is a remote address.
func openDatagram(af int, remote transport.Addr, binds func(fd int) error) (*Datagram, error) {
	fd, err := sys.Socket(af, unix.SOCK_DGRAM)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = binds(fd); err == nil && remote != nil {
		err = os.NewSyscallError("connect", connectFD(fd, remote))
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
	local     transport.Addr
	remote    transport.Addr // nil: not connected
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
	f.remote, _ = peerAddrFD(fd)
	return f, nil
}

func (f *found) plugin() transport.Transport {
	if _, ok := f.local.(transport.UnixAddr); ok {
		return transport.Unix()
	}
	return transport.TCP()
}

func adoptStream(fd int) (*transport.Stream, error) {
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
	return takeOver(fd, func(own int) (*transport.Stream, error) { return f.plugin().Import(own, nil) })
}

func adoptListener(fd int) (*transport.Listener, error) {
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
	if port, err := transport.Port(f.local); err == nil && port == 0 {
		if err := bindFD(fd, f.local); err != nil {
			return nil, os.NewSyscallError("bind", err)
		}
	}
	return ownDatagram(fd, f.remote)
}
