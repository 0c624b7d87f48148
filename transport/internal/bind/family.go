package bind

import "net/netip"

// OneFamily returns the local address of a socket that is to reach the remote one. The wildcard of
// IPv6 takes the family of the remote address. false: the two are of different families.
func OneFamily(local, remote netip.AddrPort) (netip.AddrPort, bool) {
	switch {
	case local.Addr().Is4() == remote.Addr().Is4():
		return local, true
	case local.Addr() == netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port()), true
	}
	return local, false
}
