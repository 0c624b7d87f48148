package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrUnknown is wrapped when a host has no address.
var ErrUnknown = errors.New("the host part of the node name has no address")

// Lookup finds an address of host, IPv4 before IPv6, as OTP's default does.
func Lookup(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		if ctx.Err() != nil {
			return netip.Addr{}, ctx.Err()
		}
		return netip.Addr{}, fmt.Errorf("%w: %q: %w", ErrUnknown, host, err)
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	if len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("%w: %q", ErrUnknown, host)
	}
	return ips[0], nil
}
