//go:build unix

package jsoncomm

import (
	"context"
	"testing"

	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// A document of 64 bytes with a descriptor is sent, received, and the descriptor closed.
func BenchmarkSendJSON(b *testing.B) {
	one, other := sockets(b, nil)
	f := fdtest.File(b, "f")
	ctx := context.Background()
	sent := string(make([]byte, 10))
	b.ReportAllocs()
	for b.Loop() {
		if err := one.Send(ctx, sent, f); err != nil {
			b.Fatal(err)
		}
		var got string
		fds, _, err := other.Receive(ctx, &got)
		if err != nil {
			b.Fatal(err)
		}
		if err := fds.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
