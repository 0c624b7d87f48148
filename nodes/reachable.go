package nodes

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// An UnreachableError says why other nodes, which look for a node at the address of its name's
// host, will not find it.
type UnreachableError struct {
	Host    string
	At      netip.Addr // of the host; not valid if it has none
	Listens netip.Addr // the address that the node listens on
	Err     error      // of the look-up
}

// Error gives both addresses.
func (e *UnreachableError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("other nodes may not find this one: host %q has no address (%v); x@127.0.0.1 needs none", e.Host, e.Err)
	}
	return fmt.Sprintf("other nodes will look for this one at %v, but it listens on %v only", e.At, e.Listens)
}

// Unwrap gives the error of the look-up.
func (e *UnreachableError) Unwrap() error { return e.Err }

// lookupLimit bounds the look-up of the node's own host name.
const lookupLimit = 2 * time.Second

// CheckReachable returns an *UnreachableError for a node that listens at addr, on the loopback
// interface only, while its name leads elsewhere: short host names often do. It looks the host up,
// for two seconds at most.
func CheckReachable(ctx context.Context, name string, addr transport.Addr) error {
	at, err := transport.AddrPort(addr)
	if err != nil || !at.Addr().IsLoopback() {
		return nil
	}
	_, host, err := dist.SplitName(name)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	e := &UnreachableError{Host: host, Listens: at.Addr().Unmap(), Err: err}
	if err == nil {
		if slices.ContainsFunc(ips, func(ip netip.Addr) bool { return ip.Unmap() == e.Listens }) {
			return nil
		}
		e.At = ips[0].Unmap()
	}
	return e
}
