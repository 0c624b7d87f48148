//go:build unix

package handoff

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// One message with a descriptor is sent, received, and its descriptor closed.
func BenchmarkSend(b *testing.B) {
	for name, kind := range kinds {
		b.Run(name, func(b *testing.B) {
			one, other := connPair(b, kind)
			f := file(b, "f")
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
	f := file(b, "f")
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

// A message of 64 bytes with an attachment is sent, received, and the attachment closed.
func BenchmarkSendMessage(b *testing.B) {
	for name, kind := range messageKinds {
		b.Run(name, func(b *testing.B) {
			one, other := messages(b, kind, nil)
			f := file(b, "f")
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
				if err := closeFD(fd); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A document of 64 bytes with a descriptor is sent, received, and the descriptor closed.
func BenchmarkSendJSON(b *testing.B) {
	one, other := jsonSockets(b, nil)
	f := file(b, "f")
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
