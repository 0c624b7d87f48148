package cnodequic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// beside is a transport of this package, and others to compare it with.
func beside(b *testing.B, f func(b *testing.B, client, server *transport.Stream)) {
	a := newAuthority(b)
	both := a.both(b, "a@127.0.0.1")
	overTLS, err := tlstransport.New(tlstransport.Config{Server: both, Client: both})
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		tr   transport.Transport
	}{{"quic", over(b, config(both))}, {"tls", overTLS}, {"tcp", transport.TCP()}} {
		b.Run(c.name, func(b *testing.B) {
			client, server := pair(b, c.tr, c.tr)
			f(b, client, server)
		})
	}
}

// 16 bytes there and back.
func BenchmarkRoundTrip(b *testing.B) {
	beside(b, func(b *testing.B, client, server *transport.Stream) {
		ctx := context.Background()
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

// Buffers of 64 KiB, one way.
func BenchmarkThroughput(b *testing.B) {
	beside(b, func(b *testing.B, client, server *transport.Stream) {
		ctx := context.Background()
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
