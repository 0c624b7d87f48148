package transport

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair connects two streams over tr.
func pair(t testing.TB, tr Transport, at Addr) (client, server *Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := tr.Listen(at, 0)
	require.NoError(t, err)
	defer l.Close()
	type result struct {
		s   *Stream
		err error
	}
	accepted := make(chan result, 1)
	go func() {
		s, err := l.Accept(ctx)
		accepted <- result{s, err}
	}()
	client, err = tr.Connect(ctx, l.Addr())
	require.NoError(t, err)
	r := <-accepted
	require.NoError(t, r.err)
	t.Cleanup(func() { client.Close(); r.s.Close() })
	return client, r.s
}

func loopback() Addr { return FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")) }

func TestStreamPairs(t *testing.T) {
	for _, tt := range []struct {
		name string
		tr   Transport
		at   Addr
	}{
		{"tcp", TCP(), loopback()},
		{"tcp6", TCP(), FromAddrPort(netip.MustParseAddrPort("[::1]:0"))},
		{"unix", Unix(), UnixAddr(t.TempDir() + "/s")},
		{"memory", NewMemory(), MemoryAddr("")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := pair(t, tt.tr, tt.at)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			for i := range 100 {
				_, err := c.Writev(ctx, []byte("he"), nil, []byte("llo"))
				require.NoError(t, err)
				b := make([]byte, 5)
				n, err := s.Readv(ctx, b[:1], b[1:])
				require.NoError(t, err, i)
				require.EqualValues(t, 5, n)
				require.Equal(t, "hello", string(b))
			}
			short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
			defer stop()
			_, err := s.Readv(short, make([]byte, 1))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = s.Readv(NoWait(), make([]byte, 1))
			require.True(t, isTimeout(err))
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	c, s := pair(b, TCP(), loopback())
	go func() {
		buf := make([]byte, 16)
		for {
			if _, err := s.Readv(context.Background(), buf); err != nil {
				return
			}
			if _, err := s.Writev(context.Background(), buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		c.Writev(context.Background(), buf)
		c.Readv(context.Background(), buf)
	}
}
