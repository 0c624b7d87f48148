//go:build !unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

func connectTCP(ctx context.Context, local, remote Addr) (*Stream, error) {
	var d net.Dialer
	if local != nil {
		a, err := ToNetAddr("tcp", local)
		if err != nil {
			return nil, opError("connect", remote, err)
		}
		d.LocalAddr = a
	}
	return FromNet(Net{Dial: func(ctx context.Context, addr Addr) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", addr.String())
	}}).Connect(ctx, remote)
}

func connectUnix(ctx context.Context, local, remote Addr) (*Stream, error) {
	if path, _ := UnixPath(local); path != "" {
		return nil, opError("connect", remote, fmt.Errorf("a local path: %w", errors.ErrUnsupported))
	}
	return Unix().Connect(ctx, remote)
}

func unixStreams() (one, other *Stream, err error) { return nil, nil, errors.ErrUnsupported }

func adopt[T any](int, func(Transport, int) (T, error)) (t T, err error) {
	return t, errors.ErrUnsupported
}

// peerAddr knows no peer.
func peerAddr(int, error) Addr { return nil }

// resetOnClose does nothing: no carrier of this system has a descriptor that the SDK waits on.
func resetOnClose(carrier) bool { return false }

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

// Unix returns the UNIX-socket plug-in: addresses are UnixAddr paths. Here it is made of package
// net.
func Unix() Transport {
	path := func(a Addr) string {
		if u, ok := plain(a).(UnixAddr); ok {
			return u.Path()
		}
		return a.String()
	}
	return fromNet("unix", Net{
		Listen: func(addr Addr) (net.Listener, error) { return net.Listen("unix", path(addr)) },
		Dial: func(ctx context.Context, addr Addr) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path(addr))
		},
	})
}
