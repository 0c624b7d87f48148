package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// lookupLimit bounds a look for a whole name, which may be in vain.
const lookupLimit = 2 * time.Second

// ownHost is the host of this program's own node's name: up to the first dot, or with -n and -name
// the whole.
func (o *options) ownHost(ctx context.Context) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this machine's name: %w", err)
	}
	return o.fit(ctx, host), nil
}

// target is the whole name of the node to call.
func (o *options) target(ctx context.Context, ownHost string) string {
	alive, host, ok := strings.Cut(o.node, "@")
	if !ok {
		host = ownHost
	}
	return alive + "@" + o.fit(ctx, host)
}

// fit is the form of a host's name that the nodes have: short, or the whole as far as it is known.
func (o *options) fit(ctx context.Context, host string) string {
	if !o.long {
		host, _, _ = strings.Cut(host, ".")
		return host
	}
	if _, err := netip.ParseAddr(host); err == nil || strings.Contains(host, ".") {
		return host
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	if whole, err := net.DefaultResolver.LookupCNAME(ctx, host); err == nil && strings.Contains(strings.TrimSuffix(whole, "."), ".") {
		return strings.TrimSuffix(whole, ".")
	}
	return host
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// addressOf is an address of a host, IPv4 before IPv6; the loopback one for a machine that does not
// know its own name.
func addressOf(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil && isOwn(host) {
		return loopback, nil
	}
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	return ips[0], nil // an answer without an error has one
}

// isOwn reports whether a host's name is this machine's, whole or short.
func isOwn(host string) bool {
	own, err := os.Hostname()
	if err != nil {
		return false
	}
	short, _, _ := strings.Cut(own, ".")
	return host == own || host == short
}
