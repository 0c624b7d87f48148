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

// returns waits for an operation in another goroutine, which must come back.
func returns[T any](t testing.TB, c <-chan T) T { t.Helper(); return expect.Returns(t, c) }

// aside runs an operation in another goroutine and gives its error.
func aside(op func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- op() }()
	return c
}

// second is the error of a call with two results.
func second[T any](_ T, err error) error { return err }

// udpPair opens two UDP sockets on the loopback of a family; the second is connected to the first.
func udpPair(t testing.TB, family string) (open, connected *tsocket.Datagram) {
	t.Helper()
	at := loopback()
	if family == "ipv6" {
		at = transport.FromAddrPort(netip.MustParseAddrPort("[::1]:0"))
		need.IPv6(t)
	}
	open = expect.NoError(tsocket.OpenUDP(at, nil)).In(t)
	t.Cleanup(func() { open.Close() })
	connected = expect.NoError(tsocket.OpenUDP(at, open.LocalAddr())).In(t)
	t.Cleanup(func() { connected.Close() })
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
