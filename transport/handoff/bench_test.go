//go:build unix

package handoff

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// One message with a descriptor is sent, received, and its descriptor closed.
func BenchmarkSend(b *testing.B) {
	for name, kind := range kinds {
		b.Run(name, func(b *testing.B) {
			one, other := connPair(b, kind)
			f := fdtest.File(b, "f")
			ctx := context.Background()
			p, q := make([]byte, 64), make([]byte, 64)
			var set FDSet
			b.ReportAllocs()
			for b.Loop() {
				if err := one.Send(ctx, p, f); err != nil {
					b.Fatal(err)
				}
				if _, err := other.Receive(ctx, q, &set, 1); err != nil {
					b.Fatal(err)
				}
				if err := set.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A sender and a receiver at the same time.
func BenchmarkSendAhead(b *testing.B) {
	for name, kind := range kinds {
		b.Run(name, func(b *testing.B) { sendAhead(b, kind) })
	}
}

func sendAhead(b *testing.B, kind int) {
	one, other := connPair(b, kind)
	f := fdtest.File(b, "f")
	ctx := context.Background()
	done := make(chan error, 1)
	n := b.N
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		p := make([]byte, 64)
		for range n {
			if err := one.Send(ctx, p, f); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	q := make([]byte, 64)
	var set FDSet
	for range n {
		if _, err := other.Receive(ctx, q, &set, 1); err != nil {
			b.Fatal(err)
		}
		if err := set.Close(); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, <-done)
}
