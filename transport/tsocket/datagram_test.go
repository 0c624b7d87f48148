package tsocket

import (
	"context"
	"io"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/race"

	"github.com/cnode-go/cnode/transport"
)

// udpPair opens two UDP sockets on the loopback of a family; the second is connected to the first.
func udpPair(t testing.TB, family string) (open, connected *Datagram) {
	t.Helper()
	at := loopback()
	if family == "ipv6" {
		at = transport.FromAddrPort(netip.MustParseAddrPort("[::1]:0"))
		need.IPv6(t)
	}
	open = expect.Open(OpenUDP(at, nil)).In(t)
	connected = expect.Open(OpenUDP(at, open.LocalAddr())).In(t)
	return open, connected
}

// datagramPairs runs a test over a socket of every kind and one that is connected to it.
func datagramPairs(t *testing.T, test func(t *testing.T, open, connected *Datagram)) {
	for _, family := range []string{"ipv4", "ipv6"} {
		t.Run(family, func(t *testing.T) {
			open, connected := udpPair(t, family)
			test(t, open, connected)
		})
	}
	t.Run("unix", func(t *testing.T) {
		open, connected := unixgrams(t)
		test(t, open, connected)
	})
}

// requireReceives expects one datagram.
func requireReceives(t testing.TB, d *Datagram, want string, from transport.Addr) {
	t.Helper()
	p := make([]byte, 1000)
	n, sender, err := d.RecvFrom(soon(t), p)
	require.NoError(t, err)
	require.Equal(t, want, string(p[:n]))
	require.Equal(t, from, sender)
}

func requireSends(t testing.TB, d *Datagram, text string, to transport.Addr) {
	t.Helper()
	require.Equal(t, len(text), expect.NoError(d.SendTo(soon(t), []byte(text), to)).In(t))
}

func TestDatagramTooLongForTheBuffer(t *testing.T) {
	datagramPairs(t, func(t *testing.T, open, connected *Datagram) {
		requireSends(t, connected, "longer than the buffer", nil)
		requireSends(t, connected, "fits", nil)
		p := []byte("12345678")
		n, from, err := open.RecvFrom(soon(t), p[:4])
		require.ErrorIs(t, err, io.ErrShortBuffer)
		require.ErrorIs(t, err, syscall.EMSGSIZE)
		require.Equal(t, 4, n)
		require.Equal(t, "long5678", string(p))
		if from != nil { // where the system says it
			require.Equal(t, connected.LocalAddr(), from)
		}
		requireReceives(t, open, "fits", connected.LocalAddr())
	})
}

func TestDatagramArguments(t *testing.T) {
	datagramPairs(t, func(t *testing.T, open, connected *Datagram) {
		for _, p := range [][]byte{nil, {}} {
			require.ErrorIs(t, expect.Err(connected.SendTo(soon(t), p, nil)), syscall.EINVAL, "an empty datagram")
			require.ErrorIs(t, expect.Err2(open.RecvFrom(transport.NoWait(), p)), syscall.EINVAL, "no room")
		}
		require.ErrorIs(t, expect.Err(open.SendTo(soon(t), []byte("x"), nil)), syscall.EDESTADDRREQ)
		_, err := connected.SendTo(soon(t), []byte("x"), connected.LocalAddr())
		require.ErrorIs(t, err, syscall.EISCONN)
		others := []transport.Addr{transport.MemoryAddr("x"), transport.FromAddrPort(netip.AddrPort{}), transport.UnixAddr("/x"),
			transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:9")),
			transport.FromAddrPort(netip.MustParseAddrPort("[::1]:9"))}
		refused := 0
		for _, to := range others {
			if to.Network() == open.LocalAddr().Network() {
				a, _ := transport.AddrPort(to)
				b, _ := transport.AddrPort(open.LocalAddr())
				if to.Network() == "unix" || a.IsValid() && a.Addr().Is4() == b.Addr().Is4() {
					continue
				}
			}
			_, err = open.SendTo(soon(t), []byte("x"), to)
			require.ErrorIs(t, err, syscall.EINVAL, "%v", to)
			refused++
		}
		require.Equal(t, 4, refused)
		_, _, err = open.RecvFrom(transport.NoWait(), make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing has been sent")
	})
}

func TestDatagramErrorsNameAnAddress(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	_, _, err := open.RecvFrom(transport.NoWait(), make([]byte, 1))
	op := expect.As[*transport.OpError](t, err)
	require.Equal(t, "receive", op.Op)
	require.Equal(t, open.LocalAddr(), op.Addr)
	require.ErrorAs(t, expect.Err(connected.SendTo(soon(t), nil, nil)), &op)
	require.Equal(t, "send", op.Op)
	require.Equal(t, open.LocalAddr(), op.Addr)
}

// A connected socket gets an error if there is no peer, and goes on.
func TestDatagramRefused(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	at := open.LocalAddr()
	require.NoError(t, open.Close())
	requireSends(t, connected, "nobody is there", nil)
	require.ErrorIs(t, expect.Err2(connected.RecvFrom(soon(t), make([]byte, 1))), syscall.ECONNREFUSED)
	open = expect.Open(OpenUDP(at, nil)).In(t)
	requireSends(t, connected, "now somebody is", nil)
	requireReceives(t, open, "now somebody is", connected.LocalAddr())
}

// A connected socket receives from its peer only.
func TestDatagramConnectedHearsOne(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	stranger := expect.Open(OpenUDP(loopback(), nil)).In(t)
	requireSends(t, stranger, "let me in", connected.LocalAddr())
	requireSends(t, open, "it is me", connected.LocalAddr())
	requireReceives(t, connected, "it is me", open.LocalAddr())
}

// Senders are told apart, however they alternate.
func TestDatagramSenders(t *testing.T) {
	open, one := udpPair(t, "ipv4")
	two := expect.Open(OpenUDP(loopback(), open.LocalAddr())).In(t)
	for _, d := range []*Datagram{one, two, two, one, one, two} {
		requireSends(t, d, "x", nil)
		requireReceives(t, open, "x", d.LocalAddr())
	}
}

// The wildcard of family "ip" takes the remote address's family, and keeps its port.
func TestOpenUDPWildcard(t *testing.T) {
	for _, family := range []string{"ipv4", "ipv6"} {
		host := map[string]string{"ipv4": "127.0.0.1", "ipv6": "::1"}[family]
		at := expect.NoError(transport.ParseInet(family, host, 0)).In(t)
		if family == "ipv6" {
			need.IPv6(t)
		}
		open := expect.Open(OpenUDP(at, nil)).In(t)
		connected := expect.Open(OpenUDP(wildcard(t, "ip"), open.LocalAddr())).In(t)
		requireSends(t, connected, "x", nil)
		requireReceives(t, open, "x", connected.LocalAddr())
		require.NoError(t, connected.Close())

		port := expect.NoError(transport.Port(connected.LocalAddr())).In(t)
		from := expect.NoError(transport.WithPort(wildcard(t, "ip"), port)).In(t)
		again := expect.NoError(OpenUDP(from, open.LocalAddr())).In(t)
		require.Equal(t, connected.LocalAddr(), again.LocalAddr())
		require.NoError(t, again.Close())
	}
}

func TestOpenUDPRefuses(t *testing.T) {
	six := transport.FromAddrPort(netip.MustParseAddrPort("[::1]:0"))
	for _, tt := range []struct{ local, remote transport.Addr }{
		{nil, nil}, {transport.UnixAddr("/x"), nil}, {loopback(), transport.UnixAddr("/x")}, {loopback(), six}, {six, loopback()},
		{transport.MemoryAddr("x"), nil}, {nil, transport.MemoryAddr("x")}, {transport.FromAddrPort(netip.AddrPort{}), nil},
	} {
		d, err := OpenUDP(tt.local, tt.remote)
		require.ErrorIs(t, err, syscall.EINVAL, "%v %v", tt.local, tt.remote)
		require.Nil(t, d)
	}
	open := expect.Open(OpenUDP(loopback(), nil)).In(t)
	require.ErrorIs(t, expect.Err(OpenUDP(open.LocalAddr(), nil)), syscall.EADDRINUSE, "a port is not shared")
	free := expect.Open(OpenUDP(nil, open.LocalAddr())).In(t)
	requireSends(t, free, "x", nil)
	requireReceives(t, open, "x", free.LocalAddr())
}

func TestDatagramAllocations(t *testing.T) {
	race.Allocates(t)
	open, connected := udpPair(t, "ipv4")
	ctx := context.Background()
	p, q := []byte("some bytes"), make([]byte, 100)
	to, at := connected.LocalAddr(), open.LocalAddr()
	for name, trip := range map[string]func(){
		"connected to open": func() {
			require.NoError(t, expect.Err(connected.SendTo(ctx, p, nil)))
			require.NoError(t, expect.Err2(open.RecvFrom(ctx, q)))
		},
		"open to connected": func() {
			require.NoError(t, expect.Err(open.SendTo(ctx, p, to)))
			require.NoError(t, expect.Err2(connected.RecvFrom(ctx, q)))
		},
		"to its own address": func() {
			require.NoError(t, expect.Err(connected.SendTo(ctx, p, at)))
			require.NoError(t, expect.Err2(open.RecvFrom(ctx, q)))
		},
	} {
		t.Run(name, func(t *testing.T) { require.LessOrEqual(t, testing.AllocsPerRun(300, trip), datagramAllocs) })
	}
}

// Cancelling a receive again and again loses no datagram.
func TestDatagramCancelLosesNothing(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	const count = 300
	flight := make(chan struct{}, 20) // what is on its way, fewer than any receive buffer holds
	sender := expect.Aside(func() error {
		for i := range count {
			flight <- struct{}{}
			if _, err := connected.SendTo(context.Background(), []byte{byte(i), byte(i >> 8)}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	p := make([]byte, 10)
	lost := soon(t)
	for i := 0; i < count; {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Microsecond)
		n, _, err := open.RecvFrom(ctx, p)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, lost.Err(), "datagram %d is lost", i)
			continue
		}
		require.Equal(t, 2, n)
		require.Equal(t, i, int(p[0])|int(p[1])<<8)
		i++
		<-flight
	}
	require.NoError(t, expect.Returns(t, sender))
}

// An emptying is a carrier that receives nothing but empty datagrams.
type emptying struct {
	datagramCarrier
	received func()
}

func (c emptying) receive(context.Context, *Datagram, []byte) (n, size int, from transport.Addr, err error) {
	c.received()
	return 0, 0, nil, nil
}

// A sender of empty datagrams does not keep RecvFrom beyond the end of its context.
func TestDatagramEmptyOnesEndWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	left := 3
	d := newDatagram(emptying{received: func() {
		if left--; left == 0 {
			cancel()
		}
	}}, nil, nil)
	n, from, err := d.RecvFrom(ctx, make([]byte, 1))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, n)
	require.Nil(t, from)
	require.Zero(t, left)
}

// An operation does not keep the buffer that it was given.
func TestDatagramBuffersAreLetGo(t *testing.T) {
	open, connected := udpPair(t, "ipv4")
	expect.LetGo(t, expect.Lent(1000, func(b []byte) { require.NoError(t, expect.Err(connected.SendTo(soon(t), b, nil))) }))
	expect.LetGo(t, expect.Lent(1000, func(b []byte) {
		require.NoError(t, expect.Err2(open.RecvFrom(soon(t), b)))
	}))
}
