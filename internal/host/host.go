// Package host tells which addresses count as one host, where each host has a share.
package host

import "net/netip"

// Of is an IPv4 address, or the /64 network of an IPv6 address, in which a host has as many
// addresses as it likes.
func Of(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap()
	p, _ := ip.Prefix(min(ip.BitLen(), 64))
	return p
}
