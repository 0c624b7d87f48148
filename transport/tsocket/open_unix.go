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

func adoptDatagram(fd int) (*Datagram, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	if kind != unix.SOCK_DGRAM {
		return nil, fmt.Errorf("the socket is not one of datagrams: %w", unix.EINVAL)
	}
	local, err := localAddrFD(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	if local == nil {
		return nil, fmt.Errorf("the socket is neither an inet nor a UNIX one: %w", unix.EAFNOSUPPORT)
	}
	if port, err := transport.Port(local); err == nil && port == 0 {
		if err := bindFD(fd, local); err != nil {
			return nil, os.NewSyscallError("bind", err)
		}
	}
	remote, _ := peerAddrFD(fd) // nil: not connected
	return ownDatagram(fd, remote)
}
