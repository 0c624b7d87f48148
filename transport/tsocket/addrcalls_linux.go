package tsocket

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

func bindFD(fd int, addr transport.Addr) error {
	name, err := transport.AppendSockaddr(nil, addr)
	if err != nil {
		return err
	}
	return sys.Bind(fd, name)
}

// connectFD to a UNIX socket looks up a file, which may wait.
func connectFD(fd int, addr transport.Addr) error {
	name, err := transport.AppendSockaddr(nil, addr)
	if err != nil {
		return err
	}
	_, notUnix := transport.UnixPath(addr)
	return sys.Connect(fd, name, notUnix == nil)
}

func localAddrFD(fd int) (transport.Addr, error) {
	var name sys.Name
	size, err := sys.LocalName(fd, &name)
	return named(&name, size, err)
}

func peerAddrFD(fd int) (transport.Addr, error) {
	var name sys.Name
	size, err := sys.PeerName(fd, &name)
	return named(&name, size, err)
}

// named returns the address of one end of a socket; nil for families other than inet and UNIX.
func named(name *sys.Name, size int, err error) (transport.Addr, error) {
	if err != nil {
		return nil, err
	}
	a, err := transport.ParseSockaddr(name[:size])
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	return a, err
}
