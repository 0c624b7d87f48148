//go:build unix

package transport

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/race"
)

// A small round trip allocates nothing.
func TestRoundTripAllocations(t *testing.T) {
	race.Allocates(t)
	ctx := context.Background()
	body, got := make([]byte, 64), make([]byte, 64)
	packet := frames([][]byte{body[:60]})
	f := framer{body: make([]byte, 0, 64)}
	next := f.next
	readPDU := func(s *Stream) error { f.calls = 0; return expect.Err(s.ReadPDU(ctx, next)) }
	for name, tt := range map[string]struct {
		write func(c *Stream, q *postQueue) error
		read  func(s *Stream) error
	}{
		"Writev and Readv": {
			func(c *Stream, _ *postQueue) error { return expect.Err(c.Writev(ctx, body)) },
			func(s *Stream) error { return expect.Err(s.Readv(ctx, got)) },
		},
		"Writev of two and Readv of two": {
			func(c *Stream, _ *postQueue) error { return expect.Err(c.Writev(ctx, body[:4], body[4:])) },
			func(s *Stream) error { return expect.Err(s.Readv(ctx, got[:4], got[4:])) },
		},
		"Writev and ReadPDU": {func(c *Stream, _ *postQueue) error { return expect.Err(c.Writev(ctx, packet)) }, readPDU},
		"Post and ReadPDU":   {func(_ *Stream, q *postQueue) error { return q.Post(ctx, packet[:4], packet[4:], 0) }, readPDU},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, TCP(), loopback())
			q := newPostQueue(c, nil)
			require.Zero(t, testing.AllocsPerRun(500, func() {
				require.NoError(t, tt.write(c, q))
				require.NoError(t, tt.read(s))
			}))
		})
	}
}

// A waiting reader does not allocate either: the SDK parks it with closures made once.
func TestWaitingAllocations(t *testing.T) {
	race.Allocates(t)
	c, s := pair(t, TCP(), loopback())
	ctx := context.Background()
	go func() {
		b := make([]byte, 16)
		for {
			if _, err := s.Readv(ctx, b); err != nil {
				return
			}
			if _, err := s.Writev(ctx, b); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 16)
	require.Less(t, testing.AllocsPerRun(1000, func() {
		require.NoError(t, expect.Err(c.Writev(ctx, b)))
		require.NoError(t, expect.Err(c.Readv(ctx, b)))
	}), 1.0)
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
		if _, err := c.Writev(context.Background(), buf); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Readv(context.Background(), buf); err != nil {
			b.Fatal(err)
		}
	}
}
