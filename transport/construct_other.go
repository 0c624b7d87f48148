//go:build !unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
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

func adoptStream(int) (*Stream, error)     { return nil, errors.ErrUnsupported }
func adoptListener(int) (*Listener, error) { return nil, errors.ErrUnsupported }
func adoptDatagram(int) (*Datagram, error) { return nil, errors.ErrUnsupported }
