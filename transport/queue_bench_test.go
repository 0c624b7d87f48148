//go:build unix

package transport

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Frames that come as fast as they can: read calls and allocations by frame.
func BenchmarkFramesUnderLoad(b *testing.B) {
	for _, size := range []int{16, 64, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			cb := TCPCallbacks()
			calls := 0 // the reader's
			read := cb.Read
			cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) { calls++; return read(fd, p, tmo) }
			tr := newPlugin(cb, nil, true)
			c, s := pair(b, tr, loopback())
			q := newPostQueue(c, nil)
			packet := frames([][]byte{make([]byte, size)})
			posting := make(chan error, 1)
			go func() {
				for range b.N {
					if err := q.Post(context.Background(), packet[:4], packet[4:], 0); err != nil {
						posting <- err
						return
					}
				}
				posting <- nil
			}()
			f := framer{body: make([]byte, 0, size)}
			next := f.next
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				f.calls = 0
				if _, err := s.ReadPDU(context.Background(), next); err != nil && err != io.EOF {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			require.NoError(b, <-posting)
			b.ReportMetric(float64(calls)/float64(b.N), "reads/frame")
		})
	}
}
