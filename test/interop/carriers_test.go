package interop

import (
	"context"
	"net"

	"github.com/cnode-go/cnode/transport"
)

// wrapped is TCP of package net with every connection, made or accepted, wrapped by wrap.
func wrapped(wrap func(c net.Conn, dialled bool) net.Conn) transport.Transport {
	return transport.FromNet(transport.Net{
		Listen: func(addr transport.Addr) (net.Listener, error) {
			l, err := net.Listen("tcp", addr.String())
			if err != nil {
				return nil, err
			}
			return wrappedListener{l, wrap}, nil
		},
		Dial: func(ctx context.Context, addr transport.Addr) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", addr.String())
			if err != nil {
				return nil, err
			}
			return wrap(c, true), nil
		},
	})
}

type wrappedListener struct {
	net.Listener
	wrap func(c net.Conn, dialled bool) net.Conn
}

func (l wrappedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(c, false), nil
}

// closing is a connection that reports its end.
type closing struct {
	net.Conn
	closed chan<- struct{}
}

func (c closing) Close() error {
	err := c.Conn.Close()
	select {
	case c.closed <- struct{}{}:
	default: // closed twice
	}
	return err
}
