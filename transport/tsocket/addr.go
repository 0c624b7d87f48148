package tsocket

import (
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/bind"
)

// inetPair checks that both are inet addresses of one family; local may be nil. It returns the
// local one, which is in the remote one's family if it was the wildcard of IPv6, and so of family
// "ip".
func inetPair(local, remote transport.Addr) (transport.Addr, error) {
	r, err := transport.AddrPort(remote)
	if err != nil || local == nil {
		return nil, err
	}
	l, err := transport.AddrPort(local)
	if err != nil {
		return nil, err
	}
	l, ok := bind.OneFamily(l, r)
	if !ok {
		return nil, fmt.Errorf("addresses %v and %v are not of one family: %w", local, remote,
			syscall.EINVAL)
	}
	return transport.FromAddrPort(l), nil
}

// orUnnamed gives an unnamed UNIX socket's address in place of none.
func orUnnamed(a transport.Addr) transport.Addr {
	if a == nil {
		return transport.UnixAddr("")
	}
	return a
}

// checkUnix checks that it is a UNIX address.
func checkUnix(a transport.Addr) error {
	_, err := transport.UnixPath(a)
	return err
}

// checkNamed checks that it is a UNIX address at which a socket can be found.
func checkNamed(a transport.Addr) error {
	path, err := transport.UnixPath(a)
	if err == nil && path == "" {
		return errUnnamed
	}
	return err
}
