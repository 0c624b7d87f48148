//go:build unix

package transport

import (
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// What the TCP and UNIX plug-ins share.

func newSocketFD(addr Addr) (int, error) {
	af, err := family(addr)
	if err != nil {
		return -1, err
	}
	return sys.Raised(sys.Socket(af, unix.SOCK_STREAM))
}

func bindAndListen(fd int, addr Addr, backlog int) (Addr, error) {
	if err := bindFD(fd, addr); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, err
	}
	return localAddrFD(fd)
}

func mustAddr(a Addr, err error) Addr {
	if err != nil {
		return nil
	}
	return a
}

// peerAddr asks the system for the peer's address, of a descriptor if there is one; nil if it does
// not know it.
func peerAddr(fd int, err error) Addr {
	if err != nil {
		return nil
	}
	return mustAddr(peerAddrFD(fd))
}
