//go:build unix

package transport

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// A post that is Lazily, of any size, returns at once although the queue is full, up to a limit of
// its own. At that it waits for room, until its context ends; under NoWait it is refused.
func TestQueueLazyWaitsForRoom(t *testing.T) {
	bothKinds(t, func(t *testing.T, full bool) {
		g, c, s := gated(t, full)
		q := newPostQueue(c, &queue.Options{Limit: 10, LazilyLimit: 3 * combineMax})
		first := held(t, g, q, []byte("f"))
		post := func(ctx context.Context, b string, size int) error {
			return q.Post(ctx, []byte(b), make([]byte, size-len(b)), queue.Lazily)
		}
		lazily := func(b string, size int) {
			t.Helper()
			require.NoError(t, expect.Returns(t, expect.Aside(func() error { return post(soon(t), b, size) })))
		}
		lazily("a", 1000)
		require.NoError(t, expect.Returns(t, expect.Aside(func() error { return post(NoWait(), "b", 4*combineMax) })), "one may exceed the limit")
		require.ErrorIs(t, post(NoWait(), "no", 10), os.ErrDeadlineExceeded)
		ctx, cancel := context.WithCancel(soon(t))
		waits := expect.Aside(func() error { return post(ctx, "no", 10) })
		stays(t, waits)
		cancel()
		require.ErrorIs(t, expect.Returns(t, waits), context.Canceled)
		waits = expect.Aside(func() error { return post(soon(t), "c", 10) })
		stays(t, waits)
		flushed := expect.Aside(func() error { return q.Flush(soon(t)) })
		stays(t, flushed)
		g.open()
		require.NoError(t, expect.Returns(t, first))
		got := make([]byte, 1+1000+4*combineMax+10)
		require.NoError(t, expect.Err(s.Readv(soon(t), got)))
		require.NoError(t, expect.Returns(t, waits))
		require.NoError(t, expect.Returns(t, flushed))
		require.Equal(t, "fabc", string(bytes.ReplaceAll(got, []byte{0}, nil)))
	})
}

// blocked is a queue whose first post is in flight, and stays there until k has room.
func blocked(t *testing.T, first string, o *queue.Options) (q *postQueue, k *grantCarrier) {
	k = newGrantCarrier(false, 1<<20)
	q = newPostQueue(newStream(k, nil, connected), o)
	require.NoError(t, q.Post(t.Context(), []byte(first), nil, queue.More))
	require.Eventually(t, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.calls > 0 }, 20*time.Second, time.Millisecond)
	return q, k
}

// stays tells that a call goes on waiting.
func stays(t *testing.T, posted <-chan error) {
	t.Helper()
	for range 20 {
		select {
		case err := <-posted:
			require.Fail(t, "it returned", "%v", err)
		default:
			time.Sleep(time.Millisecond)
		}
	}
}

// Posts that are Lazily go out behind what was posted before, and in turns with what is posted
// later.
func TestQueueLazyTakesTurns(t *testing.T) {
	q, k := blocked(t, "before", &queue.Options{Limit: 10, LazilyLimit: 1 << 30})
	const many = 20
	part := bytes.Repeat([]byte("z"), combineFull)
	for range many {
		require.NoError(t, q.Post(t.Context(), part, nil, queue.Lazily))
	}
	other := expect.Aside(func() error { return q.Post(soon(t), []byte("one that waits for room"), nil, 0) })
	require.Eventually(t, func() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.claims == 1 }, tooLong, time.Millisecond)
	stays(t, other)
	k.set(func() { k.room = 1 << 30 })
	require.NoError(t, expect.Returns(t, other))
	require.NoError(t, q.Flush(soon(t)))
	k.mu.Lock()
	defer k.mu.Unlock()
	require.Equal(t, "before", string(k.got[:6]))
	require.Less(t, bytes.Index(k.got, []byte("one that")), 3*combineFull)
	require.Equal(t, many*combineFull, bytes.Count(k.got, []byte("z")))
}

// What is aside when the queue fails is lost, and Flush says so.
func TestQueueLazyFailure(t *testing.T) {
	q, k := blocked(t, "first", &queue.Options{Limit: 1, LazilyLimit: 1})
	require.NoError(t, q.Post(t.Context(), []byte("second"), nil, queue.Lazily))
	flushed := expect.Aside(func() error { return q.Flush(soon(t)) })
	waits := expect.Aside(func() error { return q.Post(soon(t), []byte("third"), nil, queue.Lazily) })
	stays(t, flushed)
	k.set(func() { k.failure = errFull })
	require.ErrorIs(t, expect.Returns(t, flushed), errFull)
	require.ErrorIs(t, expect.Returns(t, waits), errFull)
	require.ErrorIs(t, q.Flush(soon(t)), errFull)
	require.ErrorIs(t, q.Post(soon(t), []byte("fourth"), nil, queue.Lazily), errFull)
}
