//go:build unix

package transport

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// An IPv6 socket that carries IPv4, too, answers peers of both kinds.
func TestAdoptedDatagramAnswersIPv4(t *testing.T) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{})
	require.NoError(t, err)
	f, err := pc.File()
	require.NoError(t, err)
	require.NoError(t, pc.Close())
	fd, err := dupFD(int(f.Fd()))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	d, err := AdoptDatagram(fd)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	port, err := Port(d.LocalAddr())
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "::1"} {
		to, err := ParseInet("ip", host, port)
		require.NoError(t, err)
		peer, err := OpenUDP(nil, to)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, second(peer.SendTo(soon(t), []byte("ask"), nil)))
			b := make([]byte, 10)
			n, from, err := d.RecvFrom(soon(t), b)
			require.NoError(t, err)
			require.Equal(t, "ask", string(b[:n]))
			require.NoError(t, second(d.SendTo(soon(t), []byte("answer"), from)))
			n, _, err = peer.RecvFrom(soon(t), b)
			require.NoError(t, err)
			require.Equal(t, "answer", string(b[:n]))
		}
		require.NoError(t, peer.Close())
	}
}
