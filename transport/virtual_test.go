package transport_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

// beneath are the transports that the virtual ones are tried over.
var beneath = []struct {
	name   string
	make   func() transport.Transport
	listen transport.Addr
}{
	{"tcp", transport.TCP, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))},
	{"memory", transport.NewMemory, transport.MemoryAddr("")},
}

// cutting are the faults under which nothing but the sizes of reads and writes changes.
func cutting() transport.FaultOptions {
	f := transport.Faults{Piece: 32 << 10, Split: 0.5, Join: 0.3, ShortWrite: 0.3, JoinFor: time.Millisecond}
	return transport.FaultOptions{Seed: 1, Read: f, Write: f}
}

// generous are rates that nobody feels, but that have to be kept to.
func generous() transport.LimitOptions {
	return transport.LimitOptions{Read: 200e6, Write: 200e6, Burst: 1 << 20}
}

var virtual = []struct {
	name string
	over func(t testing.TB, tr transport.Transport) transport.Transport
}{
	{"fault", func(_ testing.TB, tr transport.Transport) transport.Transport { return transport.Fault(tr, cutting()) }},
	{"limit", func(_ testing.TB, tr transport.Transport) transport.Transport { return transport.Limit(tr, generous()) }},
}

// What is made of a good plug-in keeps every rule.
func TestVirtualSuite(t *testing.T) {
	for _, v := range virtual {
		for _, b := range beneath {
			t.Run(v.name+" over "+b.name, func(t *testing.T) {
				t.Parallel()
				transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return v.over(t, b.make()), b.listen, nil })
			})
		}
	}
}
