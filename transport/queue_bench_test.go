//go:build unix

package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drained is a listener of package net whose connections are read to their end, each by a goroutine
// of its own.
func drained(b *testing.B) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
				}
			})
		}
	})
	b.Cleanup(func() { l.Close(); wg.Wait() })
	return l
}

// many lets so many writers write n messages together, and returns how long it took until the last
// one was out.
func many(b *testing.B, writers, n int, write func() error, flush func() error) time.Duration {
	var wg sync.WaitGroup
	begun := time.Now()
	for w := range writers {
		wg.Go(func() {
			for range (n + w) / writers {
				if err := write(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(b, flush())
	return time.Since(begun)
}

// The queue, beside a mutex around net.Conn.Write on the same kind of connection: messages a second
// of both, in turns, and how many times those of the mutex the queue has (the median of the turns).
//
//	go test ./transport -run '^$' -bench QueueAndMutex
func BenchmarkQueueAndMutex(b *testing.B) {
	const turns = 9
	ctx := context.Background()
	for _, size := range []int{64, 1 << 10} {
		for _, writers := range []int{1, 8, 64} {
			for _, way := range []string{"Post", "Deliver"} {
				b.Run(fmt.Sprintf("%s/%dB/%dwriters", way, size, writers), func(b *testing.B) {
					l := drained(b)
					plain, err := net.Dial("tcp", l.Addr().String())
					require.NoError(b, err)
					defer plain.Close()
					s, err := TCP().Connect(ctx, FromNetAddr(l.Addr()))
					require.NoError(b, err)
					defer s.Close()
					q := newPostQueue(s, nil)
					head, body := make([]byte, 4), make([]byte, size-4)
					message := make([]byte, size)

					var mu sync.Mutex
					locked := func() error {
						mu.Lock()
						defer mu.Unlock()
						_, err := plain.Write(message)
						return err
					}
					queued := func() error { return q.Post(ctx, head, body, 0) }
					if way == "Deliver" {
						queued = func() error { _, err := q.Deliver(ctx, head, body); return err }
					}
					done, flush := func() error { return nil }, func() error { return q.Flush(ctx) }

					n := max(b.N/turns, writers)
					many(b, writers, n/10, locked, done)
					many(b, writers, n/10, queued, flush)
					var ratios []float64
					var lock, queue time.Duration
					b.ResetTimer()
					for turn := range turns {
						var t, u time.Duration
						if turn%2 == 0 {
							t = many(b, writers, n, locked, done)
						}
						u = many(b, writers, n, queued, flush)
						if turn%2 == 1 {
							t = many(b, writers, n, locked, done)
						}
						ratios = append(ratios, float64(t)/float64(u))
						lock, queue = lock+t, queue+u
					}
					b.StopTimer()
					slices.Sort(ratios)
					b.ReportMetric(ratios[turns/2], "x-mutex")
					b.ReportMetric(float64(queue.Nanoseconds())/float64(n*turns), "ns/queued")
					b.ReportMetric(float64(lock.Nanoseconds())/float64(n*turns), "ns/locked")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

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
