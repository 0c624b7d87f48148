package transport

import (
	"fmt"
	"net"
	"strings"
	"syscall"
)

// FromNetAddr gives the addresses of package net (TCPAddr, UDPAddr, UnixAddr) the form of this
// package, which can be compared with == and is never changed; without an IP address they are the
// IPv4 wildcard, as in ParseAddr. Any other kind comes back as it is, for it is an Addr already,
// and so does an address with an IP or a port that cannot be.
func FromNetAddr(a net.Addr) Addr {
	if u, ok := a.(*net.UnixAddr); ok {
		if u == nil || u.Name == "@" { // how package net shows an unnamed socket
			return UnixAddr("")
		}
		return UnixAddr(u.Name)
	}
	if ap, err := AddrPort(a); err == nil {
		return FromAddrPort(ap)
	}
	return a
}

// ToNetAddr gives an address the form that package net has for it on a network: TCPAddr for "tcp",
// UDPAddr for "udp" (and "tcp4", "udp6", …), UnixAddr for "unix", "unixgram" and "unixpacket".
// EAFNOSUPPORT for any other network, EINVAL for an address that is not of its kind.
func ToNetAddr(network string, a Addr) (net.Addr, error) {
	switch network {
	case "unix", "unixgram", "unixpacket":
		path, err := UnixPath(a)
		if err != nil {
			return nil, err
		}
		return &net.UnixAddr{Name: path, Net: network}, nil
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return nil, fmt.Errorf("network %q: %w", network, syscall.EAFNOSUPPORT)
	}
	ap, err := AddrPort(a)
	if err != nil {
		return nil, err
	}
	if ap.Addr().Is4() && strings.HasSuffix(network, "6") || ap.Addr().Is6() && strings.HasSuffix(network, "4") {
		return nil, fmt.Errorf("address %v is not one of %s: %w", a, network, syscall.EINVAL)
	}
	if strings.HasPrefix(network, "tcp") {
		return net.TCPAddrFromAddrPort(ap), nil
	}
	return net.UDPAddrFromAddrPort(ap), nil
}
