//go:build unix

package transport

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rests waits until the queue has written what it has, and nobody is its writer.
func rests(t *testing.T, q *Queue) {
	t.Helper()
	require.NoError(t, q.Flush(soon(t)))
	require.Eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return !q.writing
	}, 20*time.Second, 10*time.Microsecond)
}

// Posts that find no room one after the other leave nothing behind: their rests are no buffers for a burst.
func TestQueueKeepsNoRests(t *testing.T) {
	k := newGrantCarrier(false, 1<<30)
	q := NewQueue(newStream(k, nil, connected), nil)
	ctx, b := context.Background(), make([]byte, 4000)
	burst := func() (allocated uint64) {
		require.NoError(t, q.Post(ctx, b[:5], nil, 0)) // finds no room
		n := DefaultQueueLimit/len(b) - 1
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
	require.Less(t, burst(), uint64(DefaultQueueLimit/2), "of more than the queue's limit")
}

// Nor are posts that a full queue has handed to its flusher.
func TestQueueKeepsNothingHanded(t *testing.T) {
	k := newGrantCarrier(true, 1<<30)
	q := NewQueue(newStream(k, nil, connected), &QueueOptions{Limit: 999})
	full := bytes.Repeat([]byte("f"), 1000)
	for i := range 20 {
		require.NoError(t, q.Post(soon(t), full, nil, 0))
		handed := aside(func() error { return q.Post(soon(t), []byte("more"), nil, 0) })
		require.Eventually(t, func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.posted == int64(1004*(i+1))
		}, 20*time.Second, 10*time.Microsecond)
		k.set(func() { k.got, k.room = nil, 1004 })
		require.NoError(t, returns(t, handed))
		rests(t, q)
		require.Equal(t, string(full)+"more", string(k.got))
	}
	require.Empty(t, q.spares, "the other buffers are larger than the limit")
}
