package virtual_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
	"github.com/cnode-go/cnode/transport/virtual"
)

// beneath are the transports that the virtual ones are tried over.
var beneath = []struct {
	name   string
	make   func() transport.Transport
	listen transport.Addr
}{
	{"tcp", transport.TCP, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))},
	{"memory", transport.NewMemory, transport.MemoryAddr("")},
	{"a carrier of 4-byte packets", func() transport.Transport { // as TLS is
		return transport.FromNet(transport.Net{
			HeaderSize: 4,
			Listen:     func(a transport.Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
			Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", a.String())
			},
		})
	}, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))},
}

// cutting are faults that change nothing but the sizes of reads and writes.
func cutting() virtual.FaultOptions {
	f := virtual.Faults{Piece: 256 << 10, Split: 0.5, Join: 0.3, ShortWrite: 0.3, JoinFor: time.Millisecond}
	return virtual.FaultOptions{Seed: 1, Read: f, Write: f}
}

// generous are rates that are not felt, but still counted.
func generous() virtual.LimitOptions {
	return virtual.LimitOptions{Read: 200e6, Write: 200e6, Burst: 1 << 20}
}

// traced traces into a file and a log that nobody reads.
func traced(t testing.TB, tr transport.Transport) transport.Transport {
	capture := virtual.NewCapture(io.Discard)
	t.Cleanup(func() { _ = capture.Close() }) // nothing can fail
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return virtual.Trace(tr, virtual.TraceOptions{Log: log, Capture: capture})
}

var wrappers = []struct {
	name string
	over func(t testing.TB, tr transport.Transport) transport.Transport
}{
	{"fault", func(_ testing.TB, tr transport.Transport) transport.Transport { return virtual.Fault(tr, cutting()) }},
	{"limit", func(_ testing.TB, tr transport.Transport) transport.Transport { return virtual.Limit(tr, generous()) }},
	{"trace", traced},
	{"trace of limit of fault", func(t testing.TB, tr transport.Transport) transport.Transport {
		return traced(t, virtual.Limit(virtual.Fault(tr, cutting()), generous()))
	}},
}

// A virtual Transport over a good plug-in keeps every rule.
func TestVirtualSuite(t *testing.T) {
	for i, v := range wrappers {
		for j, b := range beneath {
			if j == 2 && i < len(wrappers)-1 {
				continue // all of them together will do
			}
			if testing.Short() && (i < len(wrappers)-1 || b.name == "tcp") { // the carrier of packets is over TCP, too
				continue
			}
			t.Run(v.name+" over "+b.name, func(t *testing.T) {
				t.Parallel()
				transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return v.over(t, b.make()), b.listen, nil })
			})
		}
	}
}

// overStreams are all of the virtual sockets over a single stream.
func overStreams(s *transport.Stream) (*transport.Stream, error) {
	s, err := virtual.FaultStream(s, cutting())
	if err == nil {
		s, err = virtual.LimitStream(s, generous())
	}
	if err == nil {
		s, err = virtual.TraceStream(s, virtual.TraceOptions{Log: slog.New(slog.DiscardHandler)})
	}
	return s, err
}

// A streamListener puts virtual sockets over the streams that it accepts.
type streamListener struct{ l *transport.Listener }

func (l streamListener) Accept() (net.Conn, error) {
	s, err := l.l.Accept(context.Background())
	if err == nil {
		s, err = overStreams(s)
	}
	if err != nil {
		return nil, err
	}
	return transport.NetConn(s), nil
}

func (l streamListener) Close() error { return l.l.Close() }

func (l streamListener) Addr() net.Addr {
	a, _ := transport.ToNetAddr("tcp", l.l.Addr()) // it is an inet one
	return a
}

// Good streams, from no Transport or from a Listener, keep every rule under virtual sockets of
// their own.
func TestVirtualStreamSuite(t *testing.T) {
	tr := transport.FromNet(transport.Net{
		Listen: func(a transport.Addr) (net.Listener, error) {
			l, err := transport.ListenTCP(a, 0)
			return streamListener{l}, err
		},
		Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
			s, err := transport.ConnectTCP(ctx, nil, a)
			if err == nil {
				s, err = overStreams(s)
			}
			if err != nil {
				return nil, err
			}
			return transport.NetConn(s), nil
		},
	})
	at := transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, at, nil })
}
