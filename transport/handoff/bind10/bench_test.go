//go:build unix

package bind10

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A session of 64 bytes is sent, received, and its descriptor closed.
func BenchmarkSendSession(b *testing.B) {
	f, r := sessions(b, nil)
	fd, h := v4(b)
	ctx := context.Background()
	data := make([]byte, 64)
	var s Session
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Push(fd, h, data); err != nil {
			b.Fatal(err)
		}
		if err := r.Receive(ctx, &s); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, s.Close())
}
