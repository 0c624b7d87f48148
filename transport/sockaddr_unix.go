//go:build unix

package transport

import (
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// ToSockaddr turns an inet or UNIX address into what package unix takes; EAFNOSUPPORT for any other
// kind. Package unix takes abstract names of one byte less than Linux does: see AppendSockaddr.
func ToSockaddr(a Addr) (unix.Sockaddr, error) {
	if ap, err := AddrPort(a); err == nil {
		ip := ap.Addr()
		if ip.Is4() {
			return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ip.As4()}, nil
		}
		zone, err := zoneID(ip.Zone())
		if err != nil {
			return nil, err
		}
		return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ip.As16(), ZoneId: zone}, nil
	}
	if u, ok := unixAddr(a); ok {
		if len(u) > sys.MaxUnixPath {
			return nil, fmt.Errorf("address %q: path longer than %d bytes: %w", u, sys.MaxUnixPath, syscall.ENAMETOOLONG)
		}
		return &unix.SockaddrUnix{Name: u.Path()}, nil
	}
	return nil, otherFamily(a)
}

// FromSockaddr turns what the system calls give into an Addr; nil for families other than inet and
// UNIX.
func FromSockaddr(sa unix.Sockaddr) Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return FromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
	case *unix.SockaddrInet6:
		ip := withZone(netip.AddrFrom16(sa.Addr), sa.ZoneId)
		return FromAddrPort(netip.AddrPortFrom(ip, uint16(sa.Port)))
	case *unix.SockaddrUnix:
		if sa.Name == "@" { // how x/sys shows an unnamed socket
			return UnixAddr("")
		}
		return UnixAddr(sa.Name)
	}
	return nil
}

// family is the address family for a new socket.
func family(a Addr) (int, error) {
	if ap, err := AddrPort(a); err == nil {
		if ap.Addr().Is4() {
			return unix.AF_INET, nil
		}
		return unix.AF_INET6, nil
	}
	if _, ok := unixAddr(a); ok {
		return unix.AF_UNIX, nil
	}
	return 0, otherFamily(a)
}
