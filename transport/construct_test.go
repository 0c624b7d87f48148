package transport

import (
	"context"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// acceptOne connects with connect and accepts at l.
func acceptOne(t testing.TB, l *Listener, connect func() (*Stream, error)) (client, server *Stream) {
	t.Helper()
	connected := make(chan error, 1)
	go func() {
		var err error
		client, err = connect()
		connected <- err
	}()
	server, err := l.Accept(soon(t))
	require.NoError(t, expect.Returns(t, connected))
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// requireSpeak sends a few bytes each way.
func requireSpeak(t testing.TB, a, b *Stream) {
	t.Helper()
	for _, way := range [][2]*Stream{{a, b}, {b, a}} {
		require.NoError(t, expect.Err(way[0].Writev(soon(t), []byte("words"))))
		p := make([]byte, 5)
		require.NoError(t, expect.Err(way[1].Readv(soon(t), p)))
		require.Equal(t, "words", string(p))
	}
}

// wildcard is a family's wildcard, with port 0.
func wildcard(t testing.TB, family string) Addr {
	t.Helper()
	return expect.NoError(ParseInet(family, "", 0)).In(t)
}

func TestConnectTCP(t *testing.T) {
	l := expect.Open(ListenTCP(loopback(), 0)).In(t)
	local := loopback()
	for range 2 { // the second time from the port of the first
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectTCP(soon(t), local, l.Addr()) })
		requireSpeak(t, c, s)
		require.Equal(t, l.Addr(), c.RemoteAddr())
		require.Equal(t, c.LocalAddr(), s.RemoteAddr())
		if port, _ := Port(local); port != 0 {
			require.Equal(t, local, s.RemoteAddr())
		}
		local = c.LocalAddr()
		require.NoError(t, s.Close()) // closed first, so TIME-WAIT is at this end
		require.NoError(t, c.Close())
	}
	for name, local := range map[string]Addr{"none": nil, "ipv4": wildcard(t, "ipv4"), "ip": wildcard(t, "ip")} {
		c, s := acceptOne(t, l, func() (*Stream, error) { return ConnectTCP(soon(t), local, l.Addr()) })
		requireSpeak(t, c, s)
		require.Equal(t, c.LocalAddr(), s.RemoteAddr(), name)
	}

	six := FromAddrPort(netip.MustParseAddrPort("[::1]:9"))
	for _, tt := range []struct{ local, remote Addr }{
		{wildcard(t, "ipv4"), six}, {UnixAddr("/x"), l.Addr()}, {loopback(), UnixAddr("/x")}, {loopback(), nil}, {six, l.Addr()},
		{loopback(), six}, {MemoryAddr("x"),
			l.Addr()},
	} {
		_, err := ConnectTCP(soon(t), tt.local, tt.remote)
		require.ErrorIs(t, err, syscall.EINVAL, "%v %v", tt.local, tt.remote)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, expect.Err(ConnectTCP(ctx, nil, l.Addr())), context.Canceled)
	require.ErrorIs(t, expect.Err(ListenTCP(UnixAddr("/x"), 0)), syscall.EINVAL)
	require.ErrorIs(t, expect.Err(ListenTCP(nil, 0)), syscall.EINVAL)
}
