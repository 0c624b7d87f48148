//go:build unix

package beam

import (
	"context"
	"testing"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A message of 64 bytes with an attachment is sent, received, and the attachment closed.
func BenchmarkSendMessage(b *testing.B) {
	for name, kind := range messageKinds {
		b.Run(name, func(b *testing.B) {
			one, other := messages(b, kind, nil)
			f := fdtest.File(b, "f")
			ctx := context.Background()
			p := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := one.SendFD(ctx, p, f); err != nil {
					b.Fatal(err)
				}
				_, fd, err := other.ReceiveFD(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if err := sys.Close(fd); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
