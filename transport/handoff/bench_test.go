//go:build unix

package handoff

import (
	"context"
	"testing"

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
