//go:build unix

package transport

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/bind"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Unix returns the UNIX-socket plug-in: addresses are UnixAddr paths, or abstract names on Linux. A
// listener removes its path when it is closed, and takes over a path at which nobody listens any
// more.
func Unix() Transport {
	cb := UnixCallbacks()
	return newPlugin(cb, nil, true)
}

// A UnixSocket is the socket context of the UNIX plug-in.
type UnixSocket struct {
	fd   int
	file atomic.Pointer[bind.File] // what Close removes
}

// UnixCallbacks returns the callbacks of the UNIX-socket plug-in, as TCPCallbacks does: to copy, or
// to wrap with a context of one's own. They have no Flags: a FullImpl plug-in around them, which
// waits by itself, sets O_NONBLOCK where it needs that, or polls. Nothing has to go along with a
// descriptor, so there is Import and no Export. Connect is EAGAIN while the listener's backlog is
// full: the SDK tries again, and so must a plug-in that waits by itself. Close of a listener
// removes its path, Release leaves it to the process that holds the descriptor now.
func UnixCallbacks() Callbacks[*UnixSocket] {
	cb := Callbacks[*UnixSocket]{
		Name: "unix",
		Socket: func(_ any, addr Addr) (*UnixSocket, error) {
			if _, ok := unixAddr(addr); !ok {
				return nil, unix.EAFNOSUPPORT
			}
			fd, err := newSocketFD(addr)
			return &UnixSocket{fd: fd}, err
		},
		Close: func(u *UnixSocket) error {
			u.file.Load().Remove()
			return sys.Close(u.fd)
		},
		Listen: func(u *UnixSocket, addr Addr, backlog int) (Addr, error) {
			if err := checkNamed(addr); err != nil {
				return nil, err
			}
			at, _ := unixAddr(addr)
			path := at.Path()
			var bound Addr
			var err error
			bind.InTurn(path, func() {
				bound, err = bindAndListen(u.fd, addr, backlog)
				if errors.Is(err, unix.EADDRINUSE) && bind.RemoveStale(path) {
					bound, err = bindAndListen(u.fd, addr, backlog)
				}
				if err == nil {
					u.file.Store(bind.FileAt(path))
				}
			})
			return bound, err
		},
		Accept: func(u *UnixSocket, _ time.Duration) (*UnixSocket, Addr, error) {
			fd, remote, err := acceptFD(u.fd)
			if fd, err = sys.Raised(fd, err); err != nil {
				return nil, nil, err
			}
			return &UnixSocket{fd: fd}, remote, nil
		},
		Connect: func(u *UnixSocket, addr Addr, tmo time.Duration) error {
			if err := checkNamed(addr); err != nil {
				return err
			}
			return connectFD(u.fd, addr, tmo)
		},
		Read:                      func(u *UnixSocket, p []byte, _ time.Duration) (int, error) { return sys.Read(u.fd, p) },
		Write:                     func(u *UnixSocket, p []byte, _ time.Duration) (int, error) { return sys.Write(u.fd, p) },
		HandshakePacketHeaderSize: func(*UnixSocket) (int, error) { return 2, nil },
		GetFD:                     func(u *UnixSocket) (int, error) { return u.fd, nil },
		CloseWrite:                func(u *UnixSocket) error { return unix.Shutdown(u.fd, unix.SHUT_WR) },
		LocalAddr:                 func(u *UnixSocket) (Addr, error) { return localAddrFD(u.fd) },
		Import: func(_ any, fd int, _ []byte) (*UnixSocket, error) {
			listening, err := checkImported(fd, unixFamily)
			if err != nil {
				return nil, err
			}
			return importUnix(fd, listening), nil
		},
		importAs: func(fd int, listener bool) (*UnixSocket, error) {
			if err := checkRole(fd, unixFamily, listener); err != nil {
				return nil, err
			}
			return importUnix(fd, listener), nil
		},
		Release: func(u *UnixSocket) error { return sys.Close(u.fd) },
	}
	if sys.HasWritev {
		cb.Writev = func(u *UnixSocket, v [][]byte, _ time.Duration) (int64, error) { return sys.Writev(u.fd, v) }
	}
	return cb
}

func importUnix(fd int, listens bool) *UnixSocket {
	u := &UnixSocket{fd: fd}
	if listens {
		if at, ok := mustAddr(localAddrFD(fd)).(UnixAddr); ok {
			u.file.Store(bind.FileAt(at.Path()))
		}
	}
	return u
}
