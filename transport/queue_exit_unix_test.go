//go:build unix

package transport

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// A Write that ends its goroutine (FailNow of a test) ends the queue, whichever goroutine is the
// writer.
func TestQueueWriterExits(t *testing.T) {
	for name, kind := range map[string]Flags{"FullImpl": FullImpl, "Direct": FullImpl | Direct, "SDK waits": 0} {
		for mode, what := range map[queue.How]string{0: "lone", queue.More: "burst"} {
			t.Run(name+" "+what, func(t *testing.T) {
				var n atomic.Int32
				exit := func() {
					if n.Add(1) == 1 {
						runtime.Goexit()
					}
				}
				var c *Stream
				if kind == 0 {
					cb := TCPCallbacks()
					write := cb.Write
					cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) { exit(); return write(fd, p, tmo) }
					c, _ = pairOf(t, cb)
				} else {
					cb := memoryCallbacks()
					cb.Flags = kind
					write := cb.Write
					cb.Write = func(m *memorySocket, p []byte, tmo time.Duration) (int, error) { exit(); return write(m, p, tmo) }
					c, _ = pairOf(t, cb)
				}
				q := newPostQueue(c, nil)
				posted := make(chan struct{})
				go func() {
					defer close(posted)
					_ = q.Post(context.Background(), []byte("x"), nil, mode)
				}()
				<-posted
				require.ErrorIs(t, q.Flush(soon(t)), errExited)
				require.ErrorIs(t, q.Post(soon(t), []byte("y"), nil, 0), errExited)
			})
		}
	}
}

// The calls that wait behind a Write that ends its goroutine get its error.
func TestQueueWriterExitsBeforeOthers(t *testing.T) {
	n := 0
	k := &sink{room: 40, gate: make(chan struct{}), portion: func() int {
		if n++; n == 2 {
			runtime.Goexit()
		}
		return 40
	}}
	q := newPostQueue(newStream(k, nil, connected), nil)
	first := writes(t, q, context.Background(), "first")
	waiting(t, &k.begun, 1)
	writes(t, q, context.Background(), "second") // its goroutine ends
	third := writes(t, q, context.Background(), "third")
	close(k.gate)
	require.Equal(t, written{5, nil}, expect.Returns(t, first))
	r := expect.Returns(t, third)
	require.ErrorIs(t, r.err, errExited)
	require.Zero(t, r.n)
}
