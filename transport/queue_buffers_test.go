//go:build unix

package transport

import (
	"bytes"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
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
		_, err := s.Readv(soon(t), into[:5+n*size])
		require.NoError(t, err)
		require.NoError(t, returns(t, first))
		require.NoError(t, q.Flush(soon(t)))
		return after.TotalAlloc - before.TotalAlloc
	}
	burst(1 << 10)
	for _, size := range []int{64<<10 + 54, 100, combineMax - 1, 1 << 10, 64<<10 + 54} {
		require.Less(t, burst(size), uint64(64<<10), "posts of %d bytes", size)
	}
}

// Posts that do not fit into one buffer go out together all the same, and an idle queue keeps no
// more for its next burst than its limit.
func TestQueueBuffers(t *testing.T) {
	cb := TCPCallbacks()
	writev := cb.Writev
	g := new(gate)
	t.Cleanup(g.open)
	var most atomic.Int64
	cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
		g.pass()
		most.Store(max(most.Load(), length(v)))
		return writev(fd, v, tmo)
	}
	cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) {
		n, err := cb.Writev(fd, [][]byte{p}, tmo)
		return int(n), err
	}
	tr, err := New(cb, nil)
	require.NoError(t, err)
	c, s := pair(t, tr, loopback())
	q := newPostQueue(c, nil)
	for _, size := range []int{100, 30_000, 70_000, 100_000, combineMax - 10} {
		n := (queue.DefaultLimit - 10) / (size + 4)
		most.Store(0)
		first := held(t, g, q, []byte("first"))
		for i := range n {
			require.NoError(t, q.Post(soon(t), []byte("head"), bytes.Repeat([]byte{byte(i)}, size), 0))
		}
		g.open()
		_, err := s.Readv(soon(t), make([]byte, 5))
		require.NoError(t, err)
		for i := range n {
			got := make([]byte, 4+size)
			_, err := s.Readv(soon(t), got)
			require.NoError(t, err)
			require.Equal(t, append([]byte("head"), bytes.Repeat([]byte{byte(i)}, size)...), got)
		}
		require.NoError(t, returns(t, first))
		require.NoError(t, q.Flush(soon(t)))
		require.EqualValues(t, n*(4+size), most.Load(), "one batch")

		q.mu.Lock()
		kept := 0
		for _, s := range q.spares {
			require.LessOrEqual(t, cap(s), combineFull)
			kept += cap(s)
		}
		require.Equal(t, kept, q.spared)
		require.LessOrEqual(t, kept, queue.DefaultLimit)
		require.Positive(t, kept)
		q.mu.Unlock()
	}
	require.Eventually(t, func() bool { // the flusher is about to end
		q.Trim()
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.spared == 0 && q.spares == nil
	}, tooLong, time.Millisecond)
}
