//go:build unix

package transport

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// TCP returns the TCP plug-in, for IPv4 and IPv6: a Transport made of TCPCallbacks.
func TCP() Transport {
	cb := TCPCallbacks()
	return newPlugin(cb, nil, true)
}

// TCPCallbacks returns the callbacks of the TCP plug-in, whose socket context is the descriptor
// itself. They are the model for plug-ins over system calls: wrap them with a context of your own,
// those that are not nil: a descriptor needs no Export, for example.
// Close leaves nothing behind; Nagle's algorithm is off, for a node's messages go out as they come;
// the handshake hooks switch keep-alive on, as the C library's do. Where Linux's congestion control
// is BBR, sockets of a loopback address get reno instead: pacing messages within a machine costs
// time, and is of no use.
func TCPCallbacks() Callbacks[int] {
	cb := Callbacks[int]{
		Name: "tcp",
		Socket: func(_ any, addr Addr) (int, error) {
			at, err := AddrPort(addr)
			if err != nil {
				return -1, err
			}
			fd, err := newSocketFD(addr)
			if err != nil {
				return -1, err
			}
			if err := sys.SetOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
				return -1, errors.Join(fmt.Errorf("setsockopt TCP_NODELAY: %w", err), sys.Close(fd))
			}
			if at.Addr().IsLoopback() {
				sys.Unpace(fd)
			}
			sys.LimitUnsent(fd)
			return fd, nil
		},
		Close: sys.Close,
		Listen: func(fd int, addr Addr, backlog int) (Addr, error) {
			// A restarted node must get its port back although old connections linger.
			if err := sys.SetOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return nil, fmt.Errorf("setsockopt SO_REUSEADDR: %w", err)
			}
			return bindAndListen(fd, addr, backlog)
		},
		Accept: func(fd int, _ time.Duration) (int, Addr, error) {
			nfd, remote, err := acceptFD(fd)
			if nfd, err = sys.Raised(nfd, err); err != nil {
				return -1, nil, err
			}
			if err := sys.SetOption(nfd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
				sys.Close(nfd)
				return -1, nil, unix.ECONNABORTED // the peer is gone already: the listener goes on
			}
			sys.LimitUnsent(nfd)
			return nfd, remote, nil
		},
		Connect:                   connectFD,
		Read:                      func(fd int, p []byte, _ time.Duration) (int, error) { return sys.Read(fd, p) },
		Write:                     func(fd int, p []byte, _ time.Duration) (int, error) { return sys.Write(fd, p) },
		HandshakePacketHeaderSize: func(int) (int, error) { return 2, nil },
		ConnectHandshakeComplete:  keepAlive,
		AcceptHandshakeComplete:   keepAlive,
		GetFD:                     func(fd int) (int, error) { return fd, nil },
		CloseWrite:                func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) },
		LocalAddr:                 localAddrFD,
		Import: func(_ any, fd int, _ []byte) (int, error) {
			_, err := checkImported(fd, inetFamily)
			return fd, err
		},
		importAs: func(fd int, listener bool) (int, error) { return fd, checkRole(fd, inetFamily, listener) },
		Release:  sys.Close, // closing a duplicate of a descriptor says nothing on the wire
	}
	if sys.HasWritev {
		cb.Writev = func(fd int, v [][]byte, _ time.Duration) (int64, error) { return sys.Writev(fd, v) }
	}
	return cb
}

func keepAlive(fd int) error {
	if err := sys.SetOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		return fmt.Errorf("setsockopt SO_KEEPALIVE: %w", err)
	}
	return nil
}
