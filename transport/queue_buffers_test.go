//go:build unix

package transport

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// A burst finds the buffers of the one before, whatever the size of its posts.
func TestQueueBuffersUsedAgain(t *testing.T) {
	g, c, s := gated(t, false)
	q := newPostQueue(c, nil)
	into := make([]byte, queue.DefaultLimit)
	burst := func(size int) (allocated uint64) {
		first := held(t, g, q, []byte("first"))
		head, body, n := []byte("head"), make([]byte, size-4), (queue.DefaultLimit-10)/size
		ctx := soon(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			require.NoError(t, q.Post(ctx, head, body, 0))
		}
		runtime.ReadMemStats(&after)
		g.open()
		require.NoError(t, expect.Err(s.Readv(soon(t), into[:5+n*size])))
		require.NoError(t, expect.Returns(t, first))
		require.NoError(t, q.Flush(soon(t)))
		return after.TotalAlloc - before.TotalAlloc
	}
	burst(1 << 10)
	for _, size := range []int{64<<10 + 54, 100, combineMax - 1, 1 << 10, 64<<10 + 54} {
		require.Less(t, burst(size), uint64(64<<10), "posts of %d bytes", size)
	}
	require.Eventually(t, func() bool { // the flusher is about to end
		q.Trim()
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.spared == 0 && q.spares == nil
	}, tooLong, time.Millisecond)
}
