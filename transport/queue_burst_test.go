//go:build unix

package transport

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// gathering is a queue that has taken a post with More which its flusher has yet to write.
func gathering(t *testing.T, s *Stream, burst string) *postQueue {
	q := newPostQueue(s, nil)
	q.writing, q.gathers = true, true
	require.NoError(t, q.Post(t.Context(), []byte(burst), nil, queue.More))
	require.True(t, q.gathers)
	return q
}

// A post that has no More writes those before it as well, on its caller's goroutine, in one call.
func TestQueueGathers(t *testing.T) {
	g, c, s := gated(t, false)
	q := gathering(t, c, "burst, ")
	require.NoError(t, q.Post(t.Context(), []byte("another, "), nil, queue.More))
	require.NoError(t, q.Post(t.Context(), []byte("and "), []byte("the last"), 0))
	require.Contains(t, *g.stacks.Load(), "transport.TestQueueGathers")
	require.EqualValues(t, 1, g.begun.Load(), "one system call")
	waits, sent := q.Buffered()
	require.Equal(t, []int64{0, 28}, []int64{int64(waits), sent})
	requireReads(t, s, "burst, another, and the last")
	require.NoError(t, q.Post(t.Context(), []byte("x"), nil, 0), "it is idle again")
}

// What the socket does not take of that is written when it does, in order.
func TestQueueGathersMoreThanIsTaken(t *testing.T) {
	k := newGrantCarrier(false, 1<<20)
	q := gathering(t, newStream(k, nil, connected), "burst, ")
	k.set(func() { k.room = 3 })
	require.NoError(t, q.Post(t.Context(), []byte("rest"), nil, 0))
	require.NoError(t, q.Post(t.Context(), []byte(", more"), nil, queue.More))
	k.set(func() { k.room = 100 })
	require.NoError(t, q.Flush(soon(t)))
	require.Equal(t, "burst, rest, more", string(k.got))
}

// A write that fails is the error of the post that has made it, and of the queue.
func TestQueueGathersInVain(t *testing.T) {
	k := newGrantCarrier(false, 1<<20)
	k.failure = syscall.EPIPE
	q := gathering(t, newStream(k, nil, connected), "burst")
	require.ErrorIs(t, q.Post(t.Context(), []byte("rest"), nil, 0), syscall.EPIPE)
	require.ErrorIs(t, q.Flush(soon(t)), syscall.EPIPE)
}

// A claim does not wait for the flusher of a post with More to have its turn, nor does such a post
// alone stay.
func TestQueueGathersBeforeClaim(t *testing.T) {
	_, c, s := gated(t, false)
	for i, post := range []func(*postQueue) error{
		func(q *postQueue) error { return q.Post(t.Context(), make([]byte, combineMax), nil, 0) },
		func(q *postQueue) error { return expect.Err(q.Deliver(t.Context(), make([]byte, combineMax))) },
	} {
		q := gathering(t, c, "burst")
		posted := expect.Aside(func() error { return post(q) })
		got := make([]byte, 5+combineMax)
		require.NoError(t, expect.Err(s.Readv(soon(t), got)), i)
		require.Equal(t, "burst", string(got[:5]))
		require.NoError(t, expect.Returns(t, posted))
	}
}

// Where flushers have their turns late, again and again, they begin at once for a while.
func TestQueueGathersNothingLate(t *testing.T) {
	_, c, _ := gated(t, false)
	q := gathering(t, c, "burst")
	turn := func(late time.Duration) {
		q.mu.Lock()
		q.writing, q.gathers, q.gathering = true, true, time.Now().Add(-late)
		q.mu.Unlock()
		q.gather()
	}
	turn(-time.Hour)
	for range gatherLates - 1 {
		turn(gatherLate)
	}
	turn(-time.Hour)
	for range gatherLates {
		require.Zero(t, q.hurries)
		turn(gatherLate)
	}
	require.False(t, q.hurries.IsZero())
	q.mu.Lock()
	q.writing, q.hurries = true, time.Now().Add(time.Hour) // however busy the machine is
	q.add([]byte("x"), nil, false)
	q.posted++
	q.begin()
	require.False(t, q.gathers)
	q.mu.Unlock()
	require.NoError(t, q.Flush(soon(t)))
}
