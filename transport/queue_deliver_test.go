//go:build unix

package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// step lets the writes that wait at the gate pass, and shuts it for later ones.
func (g *gate) step() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
	g.opened = make(chan struct{})
}

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

// A call whose context ends before its turn sends nothing; all others get their own results.
func TestDeliverCancelledBeforeItsTurn(t *testing.T) {
	for _, big := range []int{1, combineMax} {
		bothKinds(t, func(t *testing.T, full bool) {
			g, c, s := gated(t, full)
			q := newPostQueue(c, nil)
			g.shut()
			ctx, cancel := context.WithCancel(context.Background())
			gone := string(bytes.Repeat([]byte("gone"), big))
			first := writes(t, q, context.Background(), "first ")
			waiting(t, &g.begun, 1)
			second := writes(t, q, context.Background(), "second ")
			cancelled := writes(t, q, ctx, gone)
			third := writes(t, q, soon(t), "third ")
			cancel()
			r := returns(t, cancelled)
			require.ErrorIs(t, r.err, context.Canceled)
			require.Zero(t, r.n)
			buffered, _ := q.Buffered()
			require.Equal(t, len("first second third "), buffered)
			flushed := aside(func() error { return q.Flush(soon(t)) })
			g.open()
			for text, call := range map[string]<-chan written{"first ": first, "second ": second, "third ": third} {
				require.Equal(t, written{int64(len(text)), nil}, returns(t, call))
			}
			require.NoError(t, returns(t, flushed))
			require.NoError(t, q.Post(soon(t), []byte("posted"), nil, 0))
			requireReads(t, s, "first second third posted")
			require.NoError(t, q.Flush(soon(t)))
			buffered, sent := q.Buffered()
			require.Zero(t, buffered)
			require.EqualValues(t, len("first second third posted"), sent)
		})
	}
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
		ended := aside(func() error { return begin(ctx) })
		require.Eventually(t, func() bool { n, _ := q.Buffered(); return n > before }, tooLong, 20*time.Microsecond)
		cancel()
		require.ErrorIs(t, returns(t, ended), context.Canceled)
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
	flushed := aside(func() error { return q.Flush(soon(t)) })
	g.open()
	requireReads(t, s, want)
	require.NoError(t, returns(t, flushed))
	for _, w := range append(all, first) {
		require.NoError(t, returns(t, w).err)
	}
	n, sent := q.Buffered()
	require.Zero(t, n)
	require.EqualValues(t, len(want), sent)
}

// When all that waits has been withdrawn the queue is idle again.
func TestDeliverAllWithdrawn(t *testing.T) {
	g, c, s := gated(t, false)
	q := newPostQueue(c, nil)
	g.shut()
	first := writes(t, q, context.Background(), "first")
	waiting(t, &g.begun, 1)
	ctx, cancel := context.WithCancel(context.Background())
	one, other := writes(t, q, ctx, "one"), writes(t, q, ctx, "other")
	cancel()
	require.ErrorIs(t, returns(t, one).err, context.Canceled)
	require.ErrorIs(t, returns(t, other).err, context.Canceled)
	g.open()
	require.NoError(t, returns(t, first).err)
	require.NoError(t, q.Flush(soon(t)))
	n, err := q.Deliver(soon(t), []byte("again"))
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	requireReads(t, s, "firstagain")
}

// A call over a carrier that takes its time gives up waiting if its context ends after its turn has
// come; the bytes go out, whole.
func TestDeliverCancelledLate(t *testing.T) {
	g, c, s := gated(t, true)
	q := newPostQueue(c, nil)
	g.shut()
	first := writes(t, q, context.Background(), "first ")
	waiting(t, &g.begun, 1)
	ctx, cancel := context.WithCancel(context.Background())
	late := writes(t, q, ctx, "late ")
	last := writes(t, q, context.Background(), "last")
	g.step()
	waiting(t, &g.begun, 2)
	cancel()
	r := returns(t, late)
	require.ErrorIs(t, r.err, context.Canceled)
	require.EqualValues(t, 5, r.n, "they are on their way")
	g.open()
	require.NoError(t, returns(t, first).err)
	require.NoError(t, returns(t, last).err)
	requireReads(t, s, "first late last")
}

// The same for a call that writes by itself: the queue writes the rest, and no other write gets
// into the middle.
func TestDeliverCancelledHalfWay(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	q := newPostQueue(c, nil)
	big := make([]byte, 32<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(big)
	ctx, cancel := context.WithCancel(context.Background())
	call := make(chan written, 1)
	go func() {
		n, err := q.Deliver(ctx, big[:100], big[100:])
		call <- written{n, err}
	}()
	p := make([]byte, 1)
	_, err := s.Readv(soon(t), p)
	require.NoError(t, err)
	cancel()
	r := returns(t, call)
	require.ErrorIs(t, r.err, context.Canceled)
	require.EqualValues(t, len(big), r.n)
	next := writes(t, q, context.Background(), "next")
	got := make([]byte, len(big)-1+4)
	_, err = s.Readv(soon(t), got)
	require.NoError(t, err)
	require.NoError(t, returns(t, next).err)
	require.True(t, bytes.Equal(big[1:], got[:len(big)-1]))
	require.Equal(t, "next", string(got[len(big)-1:]))
}

// A single try sends if it can at once, else nothing.
func TestDeliverNoWait(t *testing.T) {
	bothKinds(t, func(t *testing.T, full bool) {
		g, c, s := gated(t, full)
		q := newPostQueue(c, nil)
		n, err := q.Deliver(NoWait(), []byte("now"))
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
		g.shut()
		first := writes(t, q, context.Background(), "first")
		n, err = q.Deliver(NoWait(), []byte("never"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Zero(t, n)
		g.open()
		require.NoError(t, returns(t, first).err)
		requireReads(t, s, "nowfirst")
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c, _ := pair(t, TCP(), loopback())
	_, err := newPostQueue(c, nil).Deliver(ctx, []byte("never"))
	require.ErrorIs(t, err, context.Canceled)
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

// Any interleaving of writers, posts and cancelled calls included, gives whole messages, each
// writer's in its order: what was delivered is there, what was taken back is not.
func TestQueueInterleavings(t *testing.T) {
	need.Long(t, 6*time.Second)
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		k := &sink{room: 1 << 30, portion: func() int { return 1 + rng.IntN(3000) }}
		q := newPostQueue(newStream(k, nil, connected), &queue.Options{Limit: rapid.SampledFrom([]int{1, 500, 1 << 20}).Draw(t, "limit")})
		type op struct {
			size   int
			post   bool
			mode   queue.How
			cancel time.Duration
		}
		plans := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
			return op{
				size:   rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(combineMax-20, combineMax+20)).Draw(t, "size"),
				post:   rapid.Bool().Draw(t, "post"),
				mode:   rapid.SampledFrom([]queue.How{0, queue.More}).Draw(t, "mode"),
				cancel: rapid.SampledFrom([]time.Duration{0, 0, time.Microsecond, 50 * time.Microsecond}).Draw(t, "cancel"),
			}
		}), 1, 8), 1, 6).Draw(t, "plans")
		var wg sync.WaitGroup
		sent := make([][]uint32, len(plans)) // the messages of each writer that must be there
		faults := make(chan string, 100)
		for w, plan := range plans {
			wg.Go(func() {
				for i, o := range plan {
					m := binary.BigEndian.AppendUint32(nil, uint32(o.size))
					m = append(m, byte(w))
					m = binary.BigEndian.AppendUint32(m, uint32(i))
					m = append(m, bytes.Repeat([]byte{byte(w + i)}, o.size)...)
					ctx, cancel := context.Background(), context.CancelFunc(func() {})
					if o.cancel > 0 {
						ctx, cancel = context.WithTimeout(ctx, o.cancel)
					}
					n, err := sendsEither(ctx, q, m, o.post, o.mode)
					cancel()
					switch {
					case err != nil && !errors.Is(err, context.DeadlineExceeded):
						faults <- err.Error()
					case n == int64(len(m)):
						sent[w] = append(sent[w], uint32(i))
					case n != 0 || err == nil:
						faults <- "a count that is neither all nor nothing"
					}
				}
			})
		}
		wg.Wait()
		require.NoError(t, q.Flush(context.Background()))
		require.Empty(t, faults)
		got := make([][]uint32, len(plans))
		for rest := k.got; len(rest) > 0; {
			require.GreaterOrEqual(t, len(rest), 9)
			size, w, i := int(binary.BigEndian.Uint32(rest)), int(rest[4]), binary.BigEndian.Uint32(rest[5:])
			require.Less(t, w, len(plans))
			require.GreaterOrEqual(t, len(rest), 9+size, "not whole")
			require.Equal(t, bytes.Repeat([]byte{byte(w + int(i))}, size), append([]byte{}, rest[9:9+size]...))
			got[w] = append(got[w], i)
			rest = rest[9+size:]
		}
		for w := range plans {
			require.True(t, slices.Equal(sent[w], got[w]), "writer %d sent %v, there came %v", w, sent[w], got[w])
		}
		buffered, total := q.Buffered()
		require.Zero(t, buffered)
		require.EqualValues(t, len(k.got), total)
	})
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
	tr, err := New(cb, nil)
	require.NoError(t, err)
	c, _ := pair(t, tr, loopback())
	q, r := newPostQueue(c, nil), new(Queue)
	ctx, cancel := context.WithCancel(context.Background())
	var all []<-chan error
	for range 4 {
		all = append(all,
			aside(func() error { _, err := q.Deliver(ctx, make([]byte, 16<<20)); return err }),
			aside(func() error { _, err := q.Deliver(ctx, make([]byte, 10)); return err }),
			aside(func() error { _, err := r.ReadPDU(ctx, c, new(framer).next); return err }))
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
		if err := returns(t, call); i%3 != 1 { // a small post may have come before all others
			require.Error(t, err)
		}
	}
}

func TestDeliverEmpty(t *testing.T) {
	c, _ := pair(t, TCP(), loopback())
	for _, v := range [][][]byte{nil, {nil}, {{}, {}}} {
		_, err := newPostQueue(c, nil).Deliver(soon(t), v...)
		require.ErrorIs(t, err, syscall.EINVAL)
	}
}

// Of calls that wait any may be withdrawn: the others go out, in order, and each has its own count.
func TestDeliverWithdrawnAmongOthers(t *testing.T) {
	bothKinds(t, func(t *testing.T, full bool) {
		rapid.Check(t, func(rt *rapid.T) {
			g, c, s := gated(t, full)
			q := newPostQueue(c, &queue.Options{Limit: 16 * combineMax}) // no post has to wait for room
			posted := held(t, g, q, []byte("<"))
			type call struct {
				text   string
				post   bool
				goes   bool
				cancel context.CancelFunc
				done   <-chan written
			}
			calls := make([]call, rapid.IntRange(1, 12).Draw(rt, "calls"))
			want := "<"
			for i := range calls {
				k := &calls[i]
				size := rapid.SampledFrom([]int{1, 7, 300, combineMax + 1}).Draw(rt, "size")
				k.text = strings.Repeat(string(rune('a'+i)), size)
				k.post = size < combineMax && rapid.Bool().Draw(rt, "post")
				k.goes = !k.post && rapid.Bool().Draw(rt, "goes")
				if !k.goes {
					want += k.text
				}
				before, _ := q.Buffered()
				if k.post {
					require.NoError(rt, q.Post(soon(t), []byte(k.text), nil, 0))
					continue
				}
				var ctx context.Context
				ctx, k.cancel = context.WithCancel(context.Background())
				k.done = writes(t, q, ctx, k.text)
				require.Eventually(rt, func() bool { n, _ := q.Buffered(); return n == before+size }, tooLong, 20*time.Microsecond)
			}
			for _, k := range calls {
				if k.goes {
					k.cancel()
					r := returns(t, k.done)
					require.Zero(rt, r.n)
					require.ErrorIs(rt, r.err, context.Canceled)
				}
			}
			n, _ := q.Buffered()
			require.Equal(rt, len(want), n)
			flushed := aside(func() error { return q.Flush(soon(t)) })
			g.open()
			requireReads(t, s, want)
			require.NoError(rt, returns(t, posted))
			for _, k := range calls {
				if k.done != nil && !k.goes {
					require.Equal(rt, written{int64(len(k.text)), nil}, returns(t, k.done))
					k.cancel()
				}
			}
			require.NoError(rt, returns(t, flushed))
			n, _ = q.Buffered()
			require.Zero(rt, n)
			require.NoError(rt, c.Close())
			require.NoError(rt, s.Close())
		})
	})
}

// A large post over a carrier that waits by itself obeys its context like any other: nothing of the
// post goes out, or all of it.
func TestQueueLargePostHeedsContext(t *testing.T) {
	g, c, s := gated(t, true)
	q := newPostQueue(c, nil)
	large := make([]byte, 300_000)
	for i := range large {
		large[i] = byte(i)
	}
	g.shut()
	ctx, cancel := context.WithCancel(context.Background())
	first := aside(func() error { return q.Post(ctx, []byte("head"), large, 0) })
	waiting(t, &g.begun, 1)
	second := aside(func() error { return q.Post(ctx, large, []byte("gone"), 0) })
	require.Eventually(t, func() bool { n, _ := q.Buffered(); return n == 2*(4+len(large)) }, tooLong, 100*time.Microsecond)
	cancel()
	require.NoError(t, returns(t, first), "it is in flight, and goes out whole")
	require.ErrorIs(t, returns(t, second), context.Canceled)
	n, _ := q.Buffered()
	require.Equal(t, 4+len(large), n)
	sent := bytes.Clone(large)
	clear(large) // the caller's again
	require.ErrorIs(t, q.Post(ctx, large, nil, 0), context.Canceled)
	require.ErrorIs(t, q.Post(NoWait(), large, nil, 0), os.ErrDeadlineExceeded)
	g.open()
	requireReads(t, s, "head"+string(sent))
	require.NoError(t, q.Flush(soon(t)))

	require.NoError(t, returns(t, aside(func() error { return q.Post(NoWait(), sent, []byte("idle"), 0) })), "an idle queue takes it")
	requireReads(t, s, string(sent)+"idle")
	whole := aside(func() error { return q.Post(soon(t), []byte("all"), sent, 0) })
	requireReads(t, s, "all"+string(sent))
	require.NoError(t, returns(t, whole))
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
		require.NoError(t, returns(t, call).err)
	}
	require.Equal(t, strings.Repeat("a", 60)+strings.Repeat("b", 40)+strings.Repeat("c", 40), string(k.got))
}

// What a caller has withdrawn because there was no room no longer counts against the queue's limit.
func TestDeliverTakenBack(t *testing.T) {
	k := newGrantCarrier(false, 1<<30)
	q := newPostQueue(newStream(k, nil, connected), &queue.Options{Limit: 100})
	ctx, cancel := context.WithCancel(context.Background())
	for range 3 {
		n, err := q.Deliver(NoWait(), make([]byte, 60))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Zero(t, n)
		buffered, sent := q.Buffered()
		require.Zero(t, buffered)
		require.Zero(t, sent)
	}
	taken := writes(t, q, ctx, strings.Repeat("x", 60))
	cancel()
	require.ErrorIs(t, returns(t, taken).err, context.Canceled)
	buffered, _ := q.Buffered()
	require.Zero(t, buffered)
	require.NoError(t, q.Flush(soon(t)), "nothing is to be waited for")
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

// Large posts that give up while the peer does not read leave no place behind that grows with their
// number.
func TestQueueGivenUpPlaces(t *testing.T) {
	k := newGrantCarrier(false, 1<<10)
	q := newPostQueue(newStream(k, nil, connected), nil)
	require.NoError(t, q.Post(context.Background(), []byte("first"), nil, 0))
	large := make([]byte, combineMax)
	for range 5 * fewGiven {
		ctx, cancel := context.WithCancel(context.Background())
		ended := aside(func() error { return q.Post(ctx, large, nil, 0) })
		require.Eventually(t, func() bool { n, _ := q.Buffered(); return n > len(large) }, tooLong, 20*time.Microsecond)
		cancel()
		require.ErrorIs(t, returns(t, ended), context.Canceled)
	}
	q.mu.Lock()
	require.Less(t, len(q.segs), 2*fewGiven)
	q.mu.Unlock()
	k.set(func() { k.room = 5 })
	require.NoError(t, q.Flush(soon(t)))
}
