package virtual

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// TestMain fails when a test leaves a goroutine or a descriptor behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func loopback() transport.Addr {
	return transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
}

// soon is a context for operations that must succeed.
func soon(t testing.TB) context.Context { return expect.Context(t) }

// udpPair opens two UDP sockets on the loopback of a family; the second is connected to the first.
func udpPair(t testing.TB, family string) (open, connected *tsocket.Datagram) {
	t.Helper()
	at := loopback()
	if family == "ipv6" {
		at = transport.FromAddrPort(netip.MustParseAddrPort("[::1]:0"))
		need.IPv6(t)
	}
	open = expect.Open(tsocket.OpenUDP(at, nil)).In(t)
	connected = expect.Open(tsocket.OpenUDP(at, open.LocalAddr())).In(t)
	return open, connected
}

// requireReceives expects one datagram.
func requireReceives(t testing.TB, d tsocket.Socket, want string, from transport.Addr) {
	t.Helper()
	p := make([]byte, 1000)
	n, sender, err := d.RecvFrom(soon(t), p)
	require.NoError(t, err)
	require.Equal(t, want, string(p[:n]))
	require.Equal(t, from, sender)
}
