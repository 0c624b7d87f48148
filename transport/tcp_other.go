//go:build !unix

package transport

import (
	"context"
	"net"
	"time"
)

// TCP returns the TCP plug-in, for IPv4 and IPv6. Here it is made of package net.
func TCP() Transport {
	return fromNet("tcp", Net{
		Listen: func(addr Addr) (net.Listener, error) { return net.Listen("tcp", addr.String()) },
		Dial: func(ctx context.Context, addr Addr) (net.Conn, error) {
			d := net.Dialer{KeepAlive: 15 * time.Second}
			return d.DialContext(ctx, "tcp", addr.String())
		},
	})
}
