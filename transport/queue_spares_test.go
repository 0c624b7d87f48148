//go:build unix

package transport

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// rests waits until the queue has written what it has, and has no writer.
func rests(t *testing.T, q *postQueue) {
	t.Helper()
	require.NoError(t, q.Flush(soon(t)))
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return !q.writing
	}, tooLong, 10*time.Microsecond)
}

// A series of posts that find no room leaves nothing behind: the buffers of their rests are not
// kept for the next burst.
func TestQueueKeepsNoRests(t *testing.T) {
	k := newGrantCarrier(false, 1<<30)
	q := newPostQueue(newStream(k, nil, connected), nil)
	ctx, b := context.Background(), make([]byte, 4000)
	burst := func() (allocated uint64) {
		require.NoError(t, q.Post(ctx, b[:5], nil, 0)) // finds no room
		n := queue.DefaultLimit/len(b) - 1
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			require.NoError(t, q.Post(ctx, b, nil, 0))
		}
		runtime.ReadMemStats(&after)
		k.set(func() { k.got, k.room = make([]byte, 0, 2<<20), 5+n*len(b) })
		rests(t, q)
		return after.TotalAlloc - before.TotalAlloc
	}
	burst()
	burst()
	kept := len(q.spares)
	for range 300 {
		require.NoError(t, q.Post(ctx, b, nil, 0))
		k.set(func() { k.got, k.room = nil, len(b) })
		rests(t, q)
	}
	require.Len(t, q.spares, kept)
	require.Less(t, burst(), uint64(queue.DefaultLimit/2), "of more than the queue's limit")
}

// Nor are the buffers kept of posts that have been handed to the flusher.
func TestQueueKeepsNothingHanded(t *testing.T) {
	k := newGrantCarrier(true, 1<<30)
	q := newPostQueue(newStream(k, nil, connected), &queue.Options{Limit: 999})
	full := bytes.Repeat([]byte("f"), 1000)
	for i := range 20 {
		require.NoError(t, q.Post(soon(t), full, nil, 0))
		handed := expect.Aside(func() error { return q.Post(soon(t), []byte("more"), nil, 0) })
		require.Eventually(t, func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.posted == int64(1004*(i+1))
		}, tooLong, 10*time.Microsecond)
		k.set(func() { k.got, k.room = nil, 1004 })
		require.NoError(t, expect.Returns(t, handed))
		rests(t, q)
		require.Equal(t, string(full)+"more", string(k.got))
	}
	require.Empty(t, q.spares, "the other buffers are larger than the limit")
}

// An operation does not keep the buffers that it was given: otherwise an idle connection would hold
// on to its last packet.
func TestBuffersAreLetGo(t *testing.T) {
	const size = 64 << 10
	operations := map[string]func(t *testing.T, c, s *Stream, b []byte){
		"Writev": func(t *testing.T, c, s *Stream, b []byte) {
			require.NoError(t, expect.Err(c.Writev(soon(t), b[:1], b[1:])))
		},
		"Post": func(t *testing.T, c, s *Stream, b []byte) {
			require.NoError(t, newPostQueue(c, nil).Post(soon(t), b[:1], b[1:], 0))
		},
		"Deliver": func(t *testing.T, c, s *Stream, b []byte) {
			require.NoError(t, expect.Err(newPostQueue(c, nil).Deliver(soon(t), b[:1], b[1:])))
		},
		"Read": func(t *testing.T, c, s *Stream, b []byte) {
			require.NoError(t, expect.Err(s.Read(soon(t), b)))
		},
		"Readv": func(t *testing.T, c, s *Stream, b []byte) {
			require.NoError(t, expect.Err(s.Readv(soon(t), b)))
		},
		"ReadPDU": func(t *testing.T, c, s *Stream, b []byte) {
			v := [][]byte{b}
			_, err := s.ReadPDU(soon(t), func() ([][]byte, error) { w := v; v = nil; return w, nil })
			require.NoError(t, err)
		},
	}
	for name, over := range carriers(t) {
		for operation, run := range operations {
			t.Run(name+operation, func(t *testing.T) {
				c, s := pair(t, over.tr, over.at)
				done := expect.Lent(size, func(b []byte) { run(t, c, s, b) })
				other, beside := c.Writev, make([]byte, size)
				if operation[0] != 'R' {
					other = s.Readv
				}
				require.NoError(t, expect.Err(other(soon(t), beside)))
				expect.LetGo(t, done)
			})
		}
	}
}

// An idle queue keeps no reference to a batch that was written.
func TestQueueLetsGoOfBatch(t *testing.T) {
	k := newGrantCarrier(true, 1<<30)
	q := newPostQueue(newStream(k, nil, connected), nil)
	large := writes(t, q, context.Background(), strings.Repeat("x", combineMax))
	k.set(func() { k.room = combineMax })
	require.NoError(t, expect.Returns(t, large).err)
	rests(t, q)
	for _, s := range q.batch[:cap(q.batch)] {
		require.Zero(t, s)
	}
	for _, p := range q.vec[:cap(q.vec)] {
		require.Nil(t, p)
	}
}
