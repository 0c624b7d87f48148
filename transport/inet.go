package transport

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// ParseInet makes the address of an IPv4 or IPv6 endpoint from text. family is "ipv4", "ipv6", or
// "ip", which takes either; upper and lower case are the same, and any other family is
// EAFNOSUPPORT. host is an IP address, never a name, and an IPv6 one may have a zone; one that is
// not of the family is EINVAL. An empty host is the wildcard: 0.0.0.0 for "ipv4", else ::. An
// IPv4-mapped IPv6 address is an IPv4 one throughout this package, so "ipv6" does not take it. See
// tsocket_address_inet_from_strings.
func ParseInet(family, host string, port uint16) (Addr, error) {
	four, six := false, false
	switch strings.ToLower(family) {
	case "ip":
		four, six = true, true
	case "ipv4":
		four = true
	case "ipv6":
		six = true
	default:
		return nil, fmt.Errorf("address family %q is none of ip, ipv4, ipv6: %w", family, syscall.EAFNOSUPPORT)
	}
	if host == "" {
		if six {
			return FromAddrPort(netip.AddrPortFrom(netip.IPv6Unspecified(), port)), nil
		}
		return FromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), port)), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("address %q: not an IP address: %w", host, syscall.EINVAL)
	}
	if ip = ip.Unmap(); ip.Is4() && !four || ip.Is6() && !six {
		return nil, fmt.Errorf("address %q: not of the family %s: %w", host, family, syscall.EINVAL)
	}
	return FromAddrPort(netip.AddrPortFrom(ip, port)), nil
}

// Host is the IP address of an inet address as text, without its port; EINVAL for any other kind.
// See tsocket_address_inet_addr_string.
func Host(a Addr) (string, error) {
	ap, err := AddrPort(a)
	if err != nil {
		return "", err
	}
	return ap.Addr().String(), nil
}

// Port is the port of an inet address; EINVAL for any other kind. See tsocket_address_inet_port.
func Port(a Addr) (uint16, error) {
	ap, err := AddrPort(a)
	return ap.Port(), err
}

// WithPort returns a copy of an inet address with another port, and with the peer's name if it
// carries one; EINVAL for any other kind. See tsocket_address_inet_set_port.
func WithPort(a Addr, port uint16) (Addr, error) {
	ap, err := AddrPort(a)
	if err != nil {
		return nil, err
	}
	b := FromAddrPort(netip.AddrPortFrom(ap.Addr(), port))
	if named, ok := a.(interface{ PeerName() string }); ok {
		b = WithPeerName(b, named.PeerName())
	}
	return b, nil
}
