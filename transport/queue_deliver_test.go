//go:build unix

package transport

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/stretchr/testify/require"
)

// A written is the result of a Deliver.
type written struct {
	n   int64
	err error
}

// writes starts a Deliver and returns once the queue has it.
func writes(t testing.TB, q *postQueue, ctx context.Context, text string) <-chan written {
	t.Helper()
	before, _ := q.Buffered()
	c := make(chan written, 1)
	go func() {
		n, err := q.Deliver(ctx, []byte(text[:1]), nil, []byte(text[1:]))
		c <- written{n, err}
	}()
	require.Eventually(t, func() bool { n, _ := q.Buffered(); return n >= before+len(text) }, tooLong, 100*time.Microsecond)
	return c
}

// Calls that give up while the peer does not read leave nothing behind that grows with their
// number, and calls that wait between them go on.
func TestQueueGivenUp(t *testing.T) {
	g, c, s := gated(t, false)
	q := newPostQueue(c, &queue.Options{Limit: 64 << 10})
	g.shut()
	first := writes(t, q, context.Background(), "first ")
	waiting(t, &g.begun, 1)
	want := "first "
	var all []<-chan written
	give := func(begin func(ctx context.Context) error) {
		ctx, cancel := context.WithCancel(context.Background())
		before, _ := q.Buffered()
		ended := expect.Aside(func() error { return begin(ctx) })
		require.Eventually(t, func() bool { n, _ := q.Buffered(); return n > before }, tooLong, 20*time.Microsecond)
		cancel()
		require.ErrorIs(t, expect.Returns(t, ended), context.Canceled)
	}
	large, small := make([]byte, combineMax), make([]byte, 10<<10)
	for i := range 100 {
		if i%20 == 10 {
			text := strings.Repeat("x", i)
			want += text
			all = append(all, writes(t, q, context.Background(), text))
		}
		for range 5 {
			give(func(ctx context.Context) error { _, err := q.Deliver(ctx, small); return err })
		}
		give(func(ctx context.Context) error { _, err := q.Deliver(ctx, large); return err })
		give(func(ctx context.Context) error { return q.Post(ctx, nil, large, 0) })
		give(func(ctx context.Context) error { return q.Post(ctx, large, nil, 0) })
	}
	q.mu.Lock()
	held := 0
	for _, s := range q.segs {
		held += cap(s.buf)
	}
	require.Less(t, held, 4*q.limit)
	require.Less(t, len(q.segs), 12+2*fewGiven)
	q.mu.Unlock()
	flushed := expect.Aside(func() error { return q.Flush(soon(t)) })
	g.open()
	requireReads(t, s, want)
	require.NoError(t, expect.Returns(t, flushed))
	for _, w := range append(all, first) {
		require.NoError(t, expect.Returns(t, w).err)
	}
	n, sent := q.Buffered()
	require.Zero(t, n)
	require.EqualValues(t, len(want), sent)
}

// A sink is a carrier that takes bytes in portions of its own choosing, and fails when it is full.
type sink struct {
	carrier
	mu      sync.Mutex
	got     []byte
	room    int
	portion func() int
	begun   atomic.Int32
	gate    chan struct{} // the first write waits for it
}

var errFull = errors.New("the sink is full")

func (k *sink) takesItsTime() bool { return false }
func (k *sink) keepsPackets() bool { return false }

func (k *sink) write(ctx context.Context, v [][]byte) (int64, error) {
	if k.begun.Add(1) == 1 && k.gate != nil {
		<-k.gate
	}
	if err := ended(ctx); err != nil {
		return 0, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	left := min(k.room, max(k.portion(), 1))
	if left == 0 {
		return 0, errFull
	}
	before := len(k.got)
	k.got = appendFirst(k.got, v, left)
	k.room -= len(k.got) - before
	return int64(len(k.got) - before), nil
}

// appendFirst appends the first bytes of v, limit at the most.
func appendFirst(b []byte, v [][]byte, limit int) []byte {
	for _, p := range v {
		p = p[:min(len(p), limit)]
		b, limit = append(b, p...), limit-len(p)
	}
	return b
}

// Nothing spins while a peer is stuck: neither a write that waits, nor the calls that wait behind
// it, nor a read.
func TestNoBusySpin(t *testing.T) {
	cb := TCPCallbacks()
	read, write, writev := cb.Read, cb.Write, cb.Writev
	var calls atomic.Int32
	cb.Read = func(fd int, p []byte, tmo time.Duration) (int, error) { calls.Add(1); return read(fd, p, tmo) }
	cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) { calls.Add(1); return write(fd, p, tmo) }
	if writev != nil {
		cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) { calls.Add(1); return writev(fd, v, tmo) }
	}
	c, _ := pairOf(t, cb)
	q, r := newPostQueue(c, nil), new(Queue)
	ctx, cancel := context.WithCancel(context.Background())
	var all []<-chan error
	for range 4 {
		all = append(all,
			expect.Aside(func() error { _, err := q.Deliver(ctx, make([]byte, 16<<20)); return err }),
			expect.Aside(func() error { _, err := q.Deliver(ctx, make([]byte, 10)); return err }),
			expect.Aside(func() error { _, err := r.ReadPDU(ctx, c, new(framer).next); return err }))
	}
	// quiet windows in a row: code that spins has none, while filling the last of the system's
	// buffers comes to an end
	quiet := 0
	require.Eventually(t, func() bool {
		before := calls.Load()
		time.Sleep(50 * time.Millisecond)
		if quiet++; calls.Load()-before > 4 {
			quiet = 0
		}
		return quiet == 4
	}, tooLong, time.Millisecond, "callbacks while nothing can be done")
	cancel()
	require.NoError(t, c.Close())
	for i, call := range all {
		if err := expect.Returns(t, call); i%3 != 1 { // a small post may have come before all others
			require.Error(t, err)
		}
	}
}

// sendsEither posts m, or writes it, and returns how much of it the queue has taken or sent, as its
// caller is told. m is used again.
func sendsEither(ctx context.Context, q *postQueue, m []byte, post bool, mode queue.How) (n int64, err error) {
	defer clear(m)
	if !post {
		return q.Deliver(ctx, m[:5], m[5:])
	}
	if err := q.Post(ctx, m[:5], m[5:], mode); err != nil {
		return 0, err
	}
	return int64(len(m)), nil
}

// What callers of Deliver want to send is not copied: they write their own buffers when their
// turn comes.
func TestDeliverCopiesNothing(t *testing.T) {
	k := newGrantCarrier(false, 1<<30)
	q := newPostQueue(newStream(k, nil, connected), nil)
	all := []<-chan written{writes(t, q, context.Background(), strings.Repeat("a", 60))}
	for _, text := range []string{"b", "c"} {
		all = append(all, writes(t, q, context.Background(), strings.Repeat(text, 40)))
	}
	q.mu.Lock()
	require.Len(t, q.segs, 2)
	require.NotNil(t, q.segs[0].claim)
	require.NotNil(t, q.segs[1].claim)
	q.mu.Unlock()
	k.set(func() { k.room = 140 })
	for _, call := range all {
		require.NoError(t, expect.Returns(t, call).err)
	}
	require.Equal(t, strings.Repeat("a", 60)+strings.Repeat("b", 40)+strings.Repeat("c", 40), string(k.got))
}

// A caller whose context ends at the moment at which its turn comes takes its turn, for nobody else
// would write.
func TestQueueTurnAtTheLastMoment(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	q := newPostQueue(newStream(&sink{}, nil, connected), nil)
	for range 100 { // either end is seen first
		c := q.claim(1)
		close(c.turn)
		require.NoError(t, q.turn(ctx, c))
	}
}
