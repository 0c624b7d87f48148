package transport

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

func acceptFD(fd int) (int, Addr, error) {
	var name sys.Name
	accepted, size, err := sys.Accept(fd, &name)
	if err != nil {
		return -1, nil, err
	}
	remote, err := ParseSockaddr(name[:size])
	if err != nil { // another family, or a peer without a name
		remote = nil
	}
	return accepted, remote, nil
}

// connectFD to a UNIX socket looks up a file, which may wait.
func connectFD(fd int, addr Addr, _ time.Duration) error {
	var room sys.Name
	name, err := AppendSockaddr(room[:0], addr)
	if err != nil {
		return err
	}
	_, isUnix := unixAddr(addr)
	return sys.Connect(fd, name, isUnix)
}

func bindFD(fd int, addr Addr) error {
	var room sys.Name
	name, err := AppendSockaddr(room[:0], addr)
	if err != nil {
		return err
	}
	return sys.Bind(fd, name)
}

func localAddrFD(fd int) (Addr, error) {
	var name sys.Name
	size, err := sys.LocalName(fd, &name)
	return named(&name, size, err)
}

func peerAddrFD(fd int) (Addr, error) {
	var name sys.Name
	size, err := sys.PeerName(fd, &name)
	return named(&name, size, err)
}

// named returns the address of one end of a socket; nil for families other than inet and UNIX.
func named(name *sys.Name, size int, err error) (Addr, error) {
	if err != nil {
		return nil, err
	}
	a, err := ParseSockaddr(name[:size])
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	return a, err
}
