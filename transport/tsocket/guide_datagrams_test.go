//go:build unix

package tsocket

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// The rules of the tsocket guide, in our words and with our names, a line each, under the heading
// of the section that states them: a test for each section, and two for the section about addresses
// and sockets.

// A slowCarrier sends to a mailroom.
type slowCarrier struct {
	datagramCarrier
	room *mailroom
}

func (c slowCarrier) send(ctx context.Context, _ *Datagram, p []byte, to transport.Addr) error {
	return expect.Err(c.room.SendTo(ctx, p, to))
}

func TestGuideDatagrams(t *testing.T) {
	guideSection(t, "The tdgram_context abstraction", []guideRule{
		{"a receive gives the next datagram, its length and its sender", guideUDP(func(t *testing.T, open, connected *Datagram) {
			requireSends(t, connected, "datagram", nil)
			requireReceives(t, open, "datagram", connected.LocalAddr())
		})},
		{"its buffer is as long as the datagram, whatever that is", guideUDP(func(t *testing.T, open, connected *Datagram) {
			sent := strings.Repeat("long", 10_000)
			require.NoError(t, expect.Err(connected.SendTo(soon(t), []byte(sent), nil)))
			got, from, err := open.Receive(soon(t))
			require.NoError(t, err)
			require.Equal(t, sent, string(got))
			require.Equal(t, connected.LocalAddr(), from)
		})},
		{"or it fails", guideUDP(func(t *testing.T, open, connected *Datagram) {
			require.NoError(t, open.Close())
			requireSends(t, connected, "nobody is there", nil)
			require.ErrorIs(t, expect.Err2(connected.RecvFrom(soon(t), make([]byte, 1))), syscall.ECONNREFUSED)
		})},
		{"its length is never 0", guideUDP(func(t *testing.T, open, connected *Datagram) {
			raw := expect.Open(net.Dial("udp", open.LocalAddr().String())).In(t)
			require.NoError(t, expect.Err(raw.Write(nil)))
			_, _, err := open.RecvFrom(within(t, 20*time.Millisecond), make([]byte, 10))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})},
		{"a second receive is busy", guideUDP(func(t *testing.T, open, _ *Datagram) {
			first := outstanding(t, open, context.Background())
			require.ErrorIs(t, expect.Err2(open.RecvFrom(soon(t), make([]byte, 1))), transport.ErrBusy)
			require.NoError(t, open.Close())
			require.ErrorIs(t, expect.Returns(t, first), net.ErrClosed)
		})},
		{"to send nothing is not allowed", guideUDP(func(t *testing.T, _, connected *Datagram) {
			require.ErrorIs(t, expect.Err(connected.SendTo(soon(t), nil, nil)), syscall.EINVAL)
		})},
		{"a send gives the datagram's length", guideUDP(func(t *testing.T, open, connected *Datagram) {
			require.Equal(t, 5, expect.NoError(open.SendTo(soon(t), []byte("12345"), connected.LocalAddr())).In(t))
		})},
		{"or it fails, too", guideUDP(func(t *testing.T, open, _ *Datagram) {
			n, err := open.SendTo(soon(t), []byte("to nobody"), nil)
			require.ErrorIs(t, err, syscall.EDESTADDRREQ)
			require.Zero(t, n)
		})},
		{"a second send is busy", guideUDP(func(t *testing.T, _, connected *Datagram) {
			slow := &mailroom{gate: make(chan struct{})} // no send of the system's lasts for sure
			d := newDatagram(slowCarrier{connected.sock, slow}, connected.local, connected.remote)
			first := expect.Aside(func() error { return expect.Err(d.SendTo(soon(t), []byte("first"), nil)) })
			require.Eventually(t, d.sending.Load, tooLong, time.Millisecond)
			require.ErrorIs(t, expect.Err(d.SendTo(soon(t), []byte("second"), nil)), transport.ErrBusy)
			require.ErrorIs(t, d.Disconnect(), transport.ErrBusy)
			close(slow.gate)
			require.NoError(t, expect.Returns(t, first))
			require.Equal(t, []string{"first"}, slow.sent)
			require.NoError(t, d.Disconnect())
		})},
		{"to disconnect closes the socket", guideUDP(func(t *testing.T, open, _ *Datagram) {
			require.NoError(t, open.Disconnect())
			require.ErrorIs(t, expect.Err(open.SendTo(soon(t), []byte("x"), loopback())), syscall.ENOTCONN)
			again := expect.NoError(OpenUDP(open.LocalAddr(), nil)).In(t)
			require.NoError(t, again.Close())
		})},
		{"to disconnect with an operation outstanding is busy", guideUDP(func(t *testing.T, open, connected *Datagram) {
			first := outstanding(t, open, context.Background())
			require.ErrorIs(t, open.Disconnect(), transport.ErrBusy)
			requireSends(t, connected, "x", nil)
			require.NoError(t, expect.Returns(t, first))
			require.NoError(t, open.Disconnect())
		})},
		{"the resources can be freed at any time", guideUDP(func(t *testing.T, open, _ *Datagram) {
			first := outstanding(t, open, context.Background())
			require.NoError(t, open.Close())
			require.ErrorIs(t, expect.Returns(t, first), net.ErrClosed)
		})},
	})
}

func guideUDP(holds func(t *testing.T, open, connected *Datagram)) func(*testing.T) {
	return func(t *testing.T) {
		open, connected := udpPair(t, "ipv4")
		holds(t, open, connected)
	}
}
