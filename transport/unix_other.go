//go:build !unix

package transport

import (
	"context"
	"net"
)

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
