//go:build unix

package transport

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
)

// A gate counts the writes of a plug-in and can hold them up.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil: open

	begun  atomic.Int32 // writes
	stacks atomic.Pointer[string]
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	c := g.opened
	g.mu.Unlock()
	g.begun.Add(1)
	buf := make([]byte, 8<<10)
	stack := string(buf[:runtime.Stack(buf, false)])
	g.stacks.Store(&stack)
	if c != nil {
		<-c
	}
}

// gated is a pair over a plug-in with a gate: TCP's, which leaves the waiting to the SDK, or the
// in-memory one.
func gated(t testing.TB, full bool) (g *gate, c, s *Stream) {
	g = new(gate)
	t.Cleanup(g.open)
	if full {
		cb := memoryCallbacks()
		first(&cb.Write, g.pass)
		c, s = pairOf(t, cb)
		return g, c, s
	}
	cb := TCPCallbacks()
	writev := cb.Writev
	first(&cb.Write, g.pass)
	cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
		g.pass()
		return writev(fd, v, tmo)
	}
	c, s = pairOf(t, cb)
	return g, c, s
}

// bothKinds runs a test over a plug-in for which the SDK waits, and over one that waits itself.
func bothKinds(t *testing.T, test func(t *testing.T, full bool)) {
	for _, full := range []bool{false, true} {
		t.Run(map[bool]string{false: "SDK waits", true: "FullImpl"}[full], func(t *testing.T) { test(t, full) })
	}
}

// held shuts the gate and posts something that is then in flight.
func held(t *testing.T, g *gate, q *postQueue, head []byte) <-chan error {
	t.Helper()
	g.shut()
	n := g.begun.Load()
	posted := expect.Aside(func() error { return q.Post(context.Background(), head, nil, 0) })
	waiting(t, &g.begun, n+1)
	return posted
}

func TestQueueCombines(t *testing.T) {
	bothKinds(t, func(t *testing.T, full bool) {
		g, c, s := gated(t, full)
		q := newPostQueue(c, nil)
		posted := held(t, g, q, []byte("0000;"))
		want := "0000;"
		for i := 1; i < 500; i++ {
			text := fmt.Sprintf("%04d;", i)
			require.NoError(t, q.Post(soon(t), []byte(text[:2]), []byte(text[2:]), 0))
			want += text
		}
		waits, _ := q.Buffered()
		require.Equal(t, len(want), waits)
		before := g.begun.Load()
		g.open()
		require.NoError(t, expect.Returns(t, posted))
		require.NoError(t, q.Flush(soon(t)))
		require.LessOrEqual(t, g.begun.Load()-before, int32(2), "499 small posts are one write")
		requireReads(t, s, want)
	})
}

// A lone write is made at once, on its caller's goroutine, where the SDK does the waiting.
func TestQueueLoneWrite(t *testing.T) {
	g, c, _ := gated(t, false)
	q := newPostQueue(c, nil)
	for i := range 3 {
		require.NoError(t, q.Post(context.Background(), []byte("head"), []byte("body"), 0))
		waits, sent := q.Buffered()
		require.Zero(t, waits)
		require.EqualValues(t, 8*(i+1), sent)
		require.EqualValues(t, i+1, g.begun.Load(), "one system call")
		require.Contains(t, *g.stacks.Load(), "transport.TestQueueLoneWrite")
	}
	require.NoError(t, q.Post(context.Background(), []byte("head"), nil, queue.More))
	require.NoError(t, q.Flush(soon(t)))
	require.NotContains(t, *g.stacks.Load(), "transport.TestQueueLoneWrite", "a burst is left to another goroutine")
}

func TestQueueBackPressure(t *testing.T) {
	bothKinds(t, func(t *testing.T, full bool) {
		g, c, s := gated(t, full)
		q := newPostQueue(c, &queue.Options{Limit: 1000})
		small := bytes.Repeat([]byte{'s'}, 400)
		first := held(t, g, q, small)
		require.NoError(t, q.Post(soon(t), small, nil, 0), "800 of 1000")

		// Nothing more fits: a post waits, and a post that is cancelled is never sent.
		for _, size := range []int{400, 50_000} {
			ctx, cancel := context.WithCancel(context.Background())
			waits := expect.Aside(func() error { return q.Post(ctx, bytes.Repeat([]byte{'x'}, size), nil, 0) })
			require.Eventually(t, func() bool { n, _ := q.Buffered(); return n == 800+size }, tooLong, time.Millisecond)
			cancel()
			require.ErrorIs(t, expect.Returns(t, waits), context.Canceled)
			n, _ := q.Buffered()
			require.Equal(t, 800, n)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, q.Post(ctx, small, nil, 0), context.DeadlineExceeded)
		require.ErrorIs(t, expect.Returns(t, expect.Aside(func() error { return q.Post(NoWait(), small, nil, 0) })), os.ErrDeadlineExceeded)

		// A post that waits goes on when there is room; a post larger than the limit goes on when
		// its turn has come.
		waits := expect.Aside(func() error { return q.Post(context.Background(), small, nil, 0) })
		large := expect.Aside(func() error { return q.Post(context.Background(), bytes.Repeat([]byte{'l'}, 5000), nil, 0) })
		require.Eventually(t, func() bool { n, _ := q.Buffered(); return n == 800+400+5000 }, tooLong, time.Millisecond)
		g.open()
		for _, posted := range []<-chan error{first, waits, large} {
			require.NoError(t, expect.Returns(t, posted))
		}
		got := make([]byte, 3*400+5000)
		require.NoError(t, expect.Err(s.Readv(soon(t), got)))
		require.Equal(t, 1200, bytes.Count(got, []byte{'s'}))
		require.Equal(t, 5000, bytes.Count(got, []byte{'l'}))
		require.NoError(t, expect.Returns(t, expect.Aside(func() error { return q.Flush(soon(t)) })))
		_, err := s.Read(NoWait(), got)
		require.True(t, isTimeout(err), "a cancelled post was sent")
	})
}

// Without a limit of its own a queue has queue.DefaultLimit.
func TestQueueDefaultLimit(t *testing.T) {
	for name, o := range map[string]*queue.Options{"no options": nil, "zero options": {}} {
		t.Run(name, func(t *testing.T) {
			g, c, s := gated(t, true)
			q := newPostQueue(c, o)
			first := held(t, g, q, make([]byte, 1000))
			n, err := 1000, error(nil)
			for ; err == nil; n += 1000 {
				err = q.Post(NoWait(), make([]byte, 1000), nil, 0)
			}
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			n -= 1000
			require.Equal(t, queue.DefaultLimit/1000*1000, n)
			g.open()
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, n))))
			require.NoError(t, expect.Returns(t, first))
		})
	}
}

// A small post waits while the queue is full, and no longer: when its turn has come the queue has
// room for it, whatever the socket takes.
func TestQueueRoomForSmallPost(t *testing.T) {
	for _, flags := range []Flags{FullImpl, FullImpl | Direct} {
		synctest.Test(t, func(t *testing.T) {
			cb := memoryCallbacks()
			cb.Flags = flags
			c, s := pairOf(t, cb)
			_, err := c.Writev(t.Context(), make([]byte, memoryWindow)) // the socket takes no more
			require.NoError(t, err)
			q := newPostQueue(c, &queue.Options{Limit: 1000})
			require.NoError(t, q.Post(t.Context(), make([]byte, 800), nil, 0))
			posted := expect.Aside(func() error { return q.Post(within(t, time.Second), make([]byte, 400), nil, 0) })
			synctest.Wait()
			require.Empty(t, posted, "the queue is full")
			k, err := s.Read(t.Context(), make([]byte, 800)) // not ahead
			require.NoError(t, err)
			require.Equal(t, 800, k)
			require.NoError(t, <-posted)
			n, _ := q.Buffered()
			require.Equal(t, 400, n)
			require.NoError(t, expect.Err(s.Readv(t.Context(), make([]byte, memoryWindow+400))))
			require.NoError(t, q.Flush(t.Context()))
		})
	}
}

func TestQueueNow(t *testing.T) {
	for _, high := range []bool{false, true} {
		testQueueNow(t, high)
	}
}

func testQueueNow(t *testing.T, high bool) {
	bothKinds(t, func(t *testing.T, full bool) {
		g, c, s := gated(t, full)
		limit := map[bool]int{false: 100, true: leastNow / 2}[high]
		room, size := max(4*limit, leastNow), leastNow/10
		q := newPostQueue(c, &queue.Options{Limit: limit})
		first := held(t, g, q, []byte("f"))
		n := 1
		for {
			err := expect.Returns(t, expect.Aside(func() error { return q.Post(soon(t), make([]byte, size), nil, queue.Now) }))
			if err != nil {
				require.ErrorIs(t, err, ErrQueueFull)
				break
			}
			require.Less(t, n, room+2*size, "without end")
			n += size
		}
		require.Greater(t, n, room, "four times the limit, or a megabyte")
		g.open()
		require.NoError(t, expect.Returns(t, first))
		require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, n))))
		require.NoError(t, q.Flush(soon(t)))
		require.NoError(t, q.Post(soon(t), []byte("again"), nil, queue.Now))
	})
}

func TestQueueEmptyPost(t *testing.T) {
	c, _ := pair(t, TCP(), loopback())
	q := newPostQueue(c, nil)
	require.ErrorIs(t, q.Post(soon(t), nil, []byte{}, 0), syscall.EINVAL)
	for _, v := range [][][]byte{nil, {nil}, {{}, {}}} {
		require.ErrorIs(t, expect.Err(q.Deliver(soon(t), v...)), syscall.EINVAL)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, q.Post(ctx, []byte("x"), nil, 0), context.Canceled)
	require.ErrorIs(t, expect.Err(q.Deliver(ctx, []byte("x"))), context.Canceled)
	_, sent := q.Buffered()
	require.Zero(t, sent)
	require.NoError(t, q.Flush(NoWait()), "nothing to wait for")
}

// A post on a closed stream fails, also where another goroutine would write it; what the queue has
// failed with before that is the reason.
func TestQueuePostAfterClose(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, _ *Stream) {
		q, ended := newPostQueue(c, nil), newPostQueue(c, nil)
		ended.End(syscall.EPIPE)
		require.NoError(t, c.Close())
		for _, mode := range []queue.How{0, queue.More, queue.Now} {
			require.ErrorIs(t, q.Post(soon(t), []byte("x"), nil, mode), net.ErrClosed)
			require.ErrorIs(t, ended.Post(soon(t), []byte("x"), nil, mode), syscall.EPIPE)
		}
		require.NoError(t, q.Flush(soon(t)), "nothing was taken")
	})
}
