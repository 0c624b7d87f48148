//go:build unix

package tsocket

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// An IPv6 socket that carries IPv4, too, answers peers of both kinds.
func TestAdoptedDatagramAnswersIPv4(t *testing.T) {
	need.IPv6(t)
	pc := expect.NoError(net.ListenUDP("udp", &net.UDPAddr{})).In(t)
	f := expect.NoError(pc.File()).In(t)
	require.NoError(t, pc.Close())
	fd := expect.NoError(sys.Dup(int(f.Fd()))).In(t)
	require.NoError(t, f.Close())
	d := expect.NoError(AdoptDatagram(fd)).In(t)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	port := expect.NoError(transport.Port(d.LocalAddr())).In(t)
	for _, host := range []string{"127.0.0.1", "::1"} {
		to := expect.NoError(transport.ParseInet("ip", host, port)).In(t)
		peer := expect.NoError(OpenUDP(nil, to)).In(t)
		for range 2 {
			require.NoError(t, expect.Err(peer.SendTo(soon(t), []byte("ask"), nil)))
			b := make([]byte, 10)
			n, from, err := d.RecvFrom(soon(t), b)
			require.NoError(t, err)
			require.Equal(t, "ask", string(b[:n]))
			require.NoError(t, expect.Err(d.SendTo(soon(t), []byte("answer"), from)))
			n, _, err = peer.RecvFrom(soon(t), b)
			require.NoError(t, err)
			require.Equal(t, "answer", string(b[:n]))
		}
		require.NoError(t, peer.Close())
	}
}

// A socket that was not bound has the address that its datagrams come from.
func TestAdoptedDatagramHasPort(t *testing.T) {
	for name, af := range map[string]int{"ipv4": unix.AF_INET, "ipv6": unix.AF_INET6} {
		t.Run(name, func(t *testing.T) {
			open, _ := udpPair(t, name)
			fd := expect.NoError(sys.Socket(af, unix.SOCK_DGRAM)).In(t)
			d := expect.NoError(AdoptDatagram(fd)).In(t)
			t.Cleanup(func() { require.NoError(t, d.Close()) })
			require.NoError(t, expect.Err(d.SendTo(soon(t), []byte("ask"), open.LocalAddr())))
			_, from, err := open.RecvFrom(soon(t), make([]byte, 10))
			require.NoError(t, err)
			port := expect.NoError(transport.Port(from)).In(t)
			require.Equal(t, port, expect.NoError(transport.Port(d.LocalAddr())).In(t))
		})
	}
}
