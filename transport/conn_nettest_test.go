package transport_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// NetConn keeps every rule that package net's own connections are held to, over every kind of
// carrier.
func TestNetConnSuite(t *testing.T) {
	loopback := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	for _, tt := range []struct {
		name string
		make func(t *testing.T) (transport.Transport, transport.Addr)
	}{
		{"TCP", func(*testing.T) (transport.Transport, transport.Addr) { return transport.TCP(), loopback }},
		{"TCP without polling", func(*testing.T) (transport.Transport, transport.Addr) {
			return transport.WithPolling(transport.TCP(), 0), loopback
		}},
		{"UNIX", func(t *testing.T) (transport.Transport, transport.Addr) {
			dir := sockdir.New(t)
			return transport.Unix(), transport.UnixAddr(filepath.Join(dir, "s"))
		}},
		{"memory", func(*testing.T) (transport.Transport, transport.Addr) {
			return transport.NewMemory(), transport.MemoryAddr("")
		}},
		{"FromNet", func(*testing.T) (transport.Transport, transport.Addr) {
			return transport.FromNet(transport.Net{
				Listen: func(a transport.Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
				Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", a.String())
				},
			}), loopback
		}},
		{"Trace of TCP", func(t *testing.T) (transport.Transport, transport.Addr) { return traced(transport.TCP()), loopback }},
		{"Trace of memory", func(t *testing.T) (transport.Transport, transport.Addr) {
			return traced(transport.NewMemory()), transport.MemoryAddr("")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, at := tt.make(t)
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				l := expect.NoError(tr.Listen(at, 0)).In(t)
				defer l.Close()
				accepted := make(chan *transport.Stream, 1)
				go func() { s, _ := l.Accept(expect.Context(t)); accepted <- s }()
				c := expect.NoError(tr.Connect(expect.Context(t), l.Addr())).In(t)
				s := <-accepted
				require.NotNil(t, s)
				return transport.NetConn(c), transport.NetConn(s), func() { c.Close(); s.Close() }, nil
			})
		})
	}
}

// traced traces into a file and a log that nobody reads.
func traced(tr transport.Transport) transport.Transport {
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return virtual.Trace(tr, virtual.TraceOptions{Log: log})
}
