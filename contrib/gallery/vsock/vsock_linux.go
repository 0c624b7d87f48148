package cnodevsock

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// An Addr is an endpoint: a machine, and a port of it. CID 2 is the host, 1 the machine itself, if
// its kernel has the loopback, and Any, to listen at, whatever the machine is; port Any is a free
// one.
type Addr struct{ CID, Port uint32 }

// Any is unix.VMADDR_CID_ANY and unix.VMADDR_PORT_ANY.
const Any = 1<<32 - 1

// Network returns "vsock".
func (a Addr) Network() string { return "vsock" }

// String returns "vsock:CID:PORT".
func (a Addr) String() string { return fmt.Sprintf("vsock:%d:%d", a.CID, a.Port) }

// sockaddr is an address for system calls; EAFNOSUPPORT if it is of another kind.
func sockaddr(a transport.Addr) (*unix.SockaddrVM, error) {
	for {
		switch at := a.(type) {
		case Addr:
			return &unix.SockaddrVM{CID: at.CID, Port: at.Port}, nil
		case interface{ Unwrap() transport.Addr }: // with the peer's name
			a = at.Unwrap()
		default:
			return nil, fmt.Errorf("address %v is not one of vsock: %w", a, unix.EAFNOSUPPORT)
		}
	}
}

func addr(sa unix.Sockaddr) transport.Addr {
	if vm, ok := sa.(*unix.SockaddrVM); ok {
		return Addr{vm.CID, vm.Port}
	}
	return nil
}

func local(fd int) (transport.Addr, error) {
	sa, err := unix.Getsockname(fd)
	return addr(sa), os.NewSyscallError("getsockname", err)
}

// New returns the transport. Its addresses are Addrs: nodes find each other by nodes.Static, or a
// Resolver of the program's.
func New() (transport.Transport, error) {
	return transport.New(transport.Callbacks[int]{
		Name: "vsock",
		Socket: func(_ any, a transport.Addr) (int, error) {
			if _, err := sockaddr(a); err != nil {
				return -1, err
			}
			return unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		},
		Close: unix.Close, Release: unix.Close,
		Listen: func(fd int, a transport.Addr, backlog int) (transport.Addr, error) {
			at, err := sockaddr(a)
			if err == nil {
				err = unix.Bind(fd, at)
			}
			if err == nil {
				err = unix.Listen(fd, backlog)
			}
			if err != nil {
				return nil, err
			}
			return local(fd)
		},
		Accept: func(fd int, _ time.Duration) (int, transport.Addr, error) {
			c, from, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			return c, addr(from), err
		},
		Connect: func(fd int, a transport.Addr, _ time.Duration) error {
			to, err := sockaddr(a)
			if err != nil {
				return err
			}
			return unix.Connect(fd, to)
		},
		Read: func(fd int, p []byte, _ time.Duration) (int, error) { return unix.Read(fd, p) },
		Write: func(fd int, p []byte, _ time.Duration) (int, error) {
			return unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL)
		},
		HandshakePacketHeaderSize: func(int) (int, error) { return 2, nil },
		GetFD:                     func(fd int) (int, error) { return fd, nil },
		CloseWrite:                func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) },
		LocalAddr:                 local,
		Import: func(_ any, fd int, _ []byte) (int, error) {
			family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
			if err == nil && family != unix.AF_VSOCK {
				err = fmt.Errorf("descriptor %d is not one of vsock: %w", fd, unix.EAFNOSUPPORT)
			}
			return fd, err
		},
	}, nil)
}
