package virtual_test

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
	"github.com/cnode-go/cnode/transport/tsocket/tsockettest"
	"github.com/cnode-go/cnode/transport/tsocket/virtual"
)

// An outsider is a datagram socket with no methods beyond those of tsocket.Socket.
type outsider struct{ tsocket.Socket }

// overDatagrams are the virtual sockets over a datagram socket.
var overDatagrams = []struct {
	name string
	over func(d tsocket.Socket) tsocket.Socket
}{
	{"fault", func(d tsocket.Socket) tsocket.Socket {
		f := virtual.Faults{Delay: 0.5, MaxDelay: 2 * time.Millisecond}
		return virtual.Fault(d, virtual.FaultOptions{Seed: 1, Read: f, Write: f})
	}},
	{"limit", func(d tsocket.Socket) tsocket.Socket {
		return virtual.Limit(d, virtual.LimitOptions{Read: 1e6, Write: 1e6, Burst: 100})
	}},
	{"trace", func(d tsocket.Socket) tsocket.Socket {
		log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
		return virtual.Trace(d, virtual.TraceOptions{Log: log, Capture: virtual.NewCapture(io.Discard)})
	}},
	{"an outsider", func(d tsocket.Socket) tsocket.Socket {
		return virtual.Trace(outsider{d}, virtual.TraceOptions{})
	}},
}

// A good datagram socket keeps every rule under each virtual socket, and under all of them.
func TestVirtualDatagramSuite(t *testing.T) {
	suite := func(name string, over ...func(d tsocket.Socket) tsocket.Socket) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tsockettest.Run(t, func() (one, other tsocket.Socket, err error) {
				var ds [2]tsocket.Socket
				for i := range ds {
					at := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
					d, err := tsocket.OpenUDP(at, nil)
					if err != nil {
						return nil, nil, err
					}
					ds[i] = d
					for _, o := range over {
						ds[i] = o(ds[i])
					}
				}
				return ds[0], ds[1], nil
			})
		})
	}
	var all []func(d tsocket.Socket) tsocket.Socket
	for _, v := range overDatagrams {
		suite(v.name, v.over)
		all = append(all, v.over)
	}
	suite("all", all...)
}
