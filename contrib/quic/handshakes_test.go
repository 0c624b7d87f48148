package cnodequic_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// initial is the first datagram of a connection: a header of RFC 9000, section 17.2.2, and nothing
// that anybody has sealed.
func initial() []byte {
	b := make([]byte, 1200)
	_, _ = rand.Read(b)
	copy(b, []byte{0xc0, 0, 0, 0, 1, 8}) // version 1, a destination connection ID of 8 bytes
	copy(b[14:], []byte{4})              // and a source connection ID of 4
	rest := len(b) - 22
	copy(b[19:], []byte{0, 0x40 | byte(rest>>8), byte(rest)}) // no token, the length of the rest
	return b
}

// isRetry tells whether a datagram is a Retry packet: RFC 9000, section 17.2.5.
func isRetry(b []byte) bool { return len(b) > 0 && b[0]&0xf0 == 0xf0 }

// udp is a socket at an address of the loopback.
func udp(t testing.TB, at string) *net.UDPConn {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(at)})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func running(function string) int {
	b := make([]byte, 16<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), function+"(")
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// Datagrams that anybody can forge begin a part of Config.MaxHandshakes handshakes and no more, and
// keep nobody out: over a socket of the listener's, and over the program's.
func TestForgedHandshakes(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(map[bool]string{false: "own socket", true: "Config.Socket"}[shared], func(t *testing.T) {
			a, table, asked := newAuthority(t), nodes.Static{}, make(chan struct{}, 10_000)
			var socket *quic.Transport
			if shared {
				c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				require.NoError(t, err)
				defer c.Close()
				socket = &quic.Transport{Conn: c, ConnContext: func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
					asked <- struct{}{}
					return ctx, nil
				}}
				defer socket.Close()
			}
			slow := &quic.Config{HandshakeIdleTimeout: time.Minute} // none is over before the last one has begun
			server := start(t, "a@127.0.0.1", a.carried(t, "a@127.0.0.1", func(c *cnodequic.Config) { c.QUIC, c.Socket = slow, socket }), table,
				func(c *nodes.Config) {
					if shared {
						c.Listen = transport.FromNetAddr(socket.Conn.LocalAddr())
					}
				})
			ap, err := transport.AddrPort(server.Listeners()[0].Addr())
			require.NoError(t, err)
			to := net.UDPAddrFromAddrPort(ap)

			// connections of tests before linger
			require.Eventually(t, func() bool { return running("quic-go.(*Conn).run") == 0 }, expect.Limit, 10*time.Millisecond)
			const let = nodes.DefaultMaxHandshakes / 4
			sent := 2000
			if shared {
				sent = 200
			}
			from, answer, before := udp(t, "127.0.0.1"), make([]byte, 2000), heap()
			ctx := expect.Context(t)
			const atOnce = 4 // less than quic-go keeps answers to
			for i := 0; i < sent; i += atOnce {
				for range atOnce {
					_, err := from.WriteToUDP(initial(), to)
					require.NoError(t, err)
				}
				if i < let {
					continue // which are not answered
				}
				for answers := 0; answers < atOnce; {
					require.NoError(t, from.SetReadDeadline(time.Now().Add(time.Second)))
					n, _, err := from.ReadFromUDP(answer)
					if err == nil {
						require.True(t, isRetry(answer[:n]))
						answers++
						continue
					}
					require.LessOrEqual(t, running("quic-go.(*Conn).run"), let, "after %d datagrams", i+atOnce)
					require.NoError(t, ctx.Err(), "no answer to datagram %d", i)
				}
			}
			require.Equal(t, let, running("quic-go.(*Conn).run"))
			after := heap()
			t.Logf("%d datagrams, %d goroutines, %d KB more", sent, runtime.NumGoroutine(), (int64(after)-int64(before))>>10)
			require.Less(t, after, before+(8<<20))

			over := make(chan struct{}) // and they go on
			var flood sync.WaitGroup
			flood.Go(func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(time.Millisecond):
						_, _ = from.WriteToUDP(initial(), to)
					}
				}
			})
			client := start(t, "b@127.0.0.1", a.carried(t, "b@127.0.0.1"), table)
			calls(t, client, "a@127.0.0.1", ei.Atom("in"))
			close(over)
			flood.Wait()
			if shared {
				require.Len(t, asked, let+1)
				require.Nil(t, socket.VerifySourceAddress)
				_, err := socket.ConnContext(t.Context(), nil) // it is the program's again
				require.NoError(t, err)
				require.Len(t, asked, let+2)
			}
		})
	}
}

// A handshake counts until it has succeeded, or failed.
func TestHandshakesAreOver(t *testing.T) {
	a := newAuthority(t)
	tr := a.carried(t, "a@127.0.0.1", func(c *cnodequic.Config) { c.MaxHandshakes = 1 })
	l, err := tr.Listen(loopback(t), 0)
	require.NoError(t, err)
	defer l.Close()
	ctx := expect.Context(t)
	for range 3 {
		c, err := tr.Connect(ctx, l.Addr())
		require.NoError(t, err)
		defer c.Close()
		s, err := l.Accept(ctx)
		require.NoError(t, err)
		defer s.Close()
	}
	stranger := newAuthority(t).carried(t, "b@127.0.0.1")
	for range 3 {
		_, err = stranger.Connect(ctx, l.Addr())
		require.Error(t, err)
		require.Eventually(t, func() bool {
			c, err := tr.Connect(ctx, l.Addr())
			if err != nil {
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				return false
			}
			return c.Close() == nil
		}, expect.Limit, time.Millisecond)
	}
}

// A host that begins handshakes and does not go on has half of the places, and who comes from
// elsewhere the other half.
func TestHandshakesOfOneHost(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		t.Skip("the loopback has one address")
	}
	a := newAuthority(t)
	l, err := a.carried(t, "a@127.0.0.1", func(c *cnodequic.Config) { c.MaxHandshakes = 8 }).Listen(loopback(t), 0)
	require.NoError(t, err)
	defer l.Close()
	ap, err := transport.AddrPort(l.Addr())
	require.NoError(t, err)
	var dials sync.WaitGroup
	defer dials.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// dial makes a connection; half: it gets as far as the client's certificate.
	dial := func(from string, half bool) error {
		c := a.both(t, "b@127.0.0.1")
		c.NextProtos, c.ServerName = []string{cnodequic.ALPN}, "127.0.0.1"
		asked, result := make(chan struct{}), make(chan error, 1)
		if half {
			cert := c.Certificates[0]
			c.Certificates, c.GetClientCertificate = nil, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				close(asked)
				<-ctx.Done()
				return &cert, nil
			}
		}
		socket := &quic.Transport{Conn: udp(t, from)}
		dials.Go(func() {
			defer socket.Close()
			conn, err := socket.Dial(ctx, net.UDPAddrFromAddrPort(ap), c, nil)
			result <- err
			if err == nil {
				<-ctx.Done()
				_ = conn.CloseWithError(0, "")
			}
		})
		select {
		case <-asked:
			return nil
		case err := <-result:
			return err
		}
	}
	for range 2 + 4 { // two whose address is not asked for, and half of the places
		require.NoError(t, dial("127.0.0.1", true))
	}
	refused := new(quic.TransportError)
	require.ErrorAs(t, dial("127.0.0.1", false), &refused)
	require.Equal(t, quic.ConnectionRefused, refused.ErrorCode)
	require.NoError(t, dial("127.0.0.2", false))
	s, err := l.Accept(ctx) // the client is done with its handshake before the listener is
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, dial("127.0.0.2", true))
	require.NoError(t, dial("127.0.0.2", true))
	require.ErrorAs(t, dial("127.0.0.3", false), &refused)
	require.Equal(t, quic.ConnectionRefused, refused.ErrorCode)
}
