// Package carriers measures a carrier beside others, for the benchmarks of each.
package carriers

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

// A Carrier is a transport that is measured.
type Carrier struct {
	Name string
	// Listens and Connects are the two ends' transports; they may be one.
	Listens, Connects transport.Transport
	At                transport.Addr // to listen at
}

// TCP is what others are compared with.
func TCP(t testing.TB) Carrier {
	at, err := transport.ParseAddr("127.0.0.1:0")
	require.NoError(t, err)
	return Carrier{"tcp", transport.TCP(), transport.TCP(), at}
}

// Unix is UNIX sockets.
func Unix(t testing.TB) Carrier {
	at, err := transport.ParseAddr("unix:" + sockdir.New(t) + "/at")
	require.NoError(t, err)
	return Carrier{"unix", transport.Unix(), transport.Unix(), at}
}

func (c Carrier) pair(b *testing.B) (client, server *transport.Stream) {
	ctx := context.Background()
	l, err := c.Listens.Listen(c.At, 0)
	require.NoError(b, err)
	defer l.Close()
	client, err = c.Connects.Connect(ctx, l.Addr())
	require.NoError(b, err)
	b.Cleanup(func() { client.Close() })
	server, err = l.Accept(ctx)
	require.NoError(b, err)
	b.Cleanup(func() { server.Close() })
	return client, server
}

// RoundTrip measures 16 bytes there and back.
func RoundTrip(b *testing.B, all ...Carrier) {
	ctx := context.Background()
	for _, c := range all {
		b.Run(c.Name, func(b *testing.B) {
			client, server := c.pair(b)
			go func() {
				p := make([]byte, 16)
				for {
					if _, err := server.Readv(ctx, p); err != nil {
						return
					}
					if _, err := server.Writev(ctx, p); err != nil {
						return
					}
				}
			}()
			p := make([]byte, 16)
			for b.Loop() {
				_, err := client.Writev(ctx, p)
				require.NoError(b, err)
				_, err = client.Readv(ctx, p)
				require.NoError(b, err)
			}
			client.Close()
		})
	}
}

// Throughput measures buffers of 64 KiB, one way.
func Throughput(b *testing.B, all ...Carrier) {
	ctx := context.Background()
	for _, c := range all {
		b.Run(c.Name, func(b *testing.B) {
			client, server := c.pair(b)
			p := make([]byte, 64<<10)
			read := make(chan error, 1)
			b.SetBytes(int64(len(p)))
			b.ResetTimer()
			go func() {
				buf := make([]byte, 64<<10)
				for left := b.N * len(p); left > 0; {
					n, err := server.Read(ctx, buf)
					if left -= n; err != nil {
						read <- err
						return
					}
				}
				read <- nil
			}()
			for range b.N {
				_, err := client.Writev(ctx, p)
				require.NoError(b, err)
			}
			require.NoError(b, <-read)
		})
	}
}
