//go:build unix

package transport

import (
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
