package transport

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultQueueLimit is how many bytes a Queue holds before its callers wait: as much as a
	// BEAM's distribution buffer (erl +zdbbl).
	DefaultQueueLimit = 1 << 20

	// Posts below this size, in bytes, are copied together. A larger one is written from its
	// caller's own buffers when its turn comes: a copy would cost more than the wait.
	combineMax = 128 << 10
	// A combining buffer grows to this size, in bytes, and no further.
	combineFull = 128 << 10
	// Beyond this number of segments the queue does not move all the others up when the first has
	// its turn.
	manySegments = 64
	// How many places of callers that gave up may stay in a queue; or half of all places, if that
	// is more.
	fewGiven = 16
	// A lone write up to this size, in bytes, is joined: one buffer is written in less time than two.
	joinMax = 2 << 10
	// A goroutine that is ready and has to wait so long for its turn, so many times in a row, shows
	// that the processors are busy: Bursts gather nothing for so long.
	gatherLate  = time.Millisecond
	gatherLates = 3
	gatherPause = time.Second
)

// A Queue serialises many writers on a Stream's sending direction. Order is strict: what was posted
// first goes out first, whole. A lone write goes out at once, on its caller's goroutine; what is
// posted while a write is in flight is combined and goes out together in one system call. Its
// methods are safe for concurrent use. Nothing else may write to the stream.
//
// At any time one goroutine at the most is the writer: a caller whose post found the queue idle or
// whose turn has come, or the flusher, which lives as long as something waits.
type Queue struct {
	s           *Stream
	limit       int
	urgentLimit int
	lazyLimit   int
	full        func() // see QueueOptions; may be nil
	frames      bool

	mu        sync.Mutex
	moved     sync.Cond // bytes have left, or the queue failed
	watched   int       // goroutines that wait on moved
	segs      []segment // waiting, in order
	open      bool      // the last of segs is a combining buffer that takes more
	claims    int64     // claims ever made
	given     int       // claims in segs that their callers have given up
	urgent    int       // bytes of Urgent posts in segs
	lazy      []segment // Lazy posts that are not in line yet, each whole in one of them
	aside     int       // their bytes
	followed  int64     // bytes of Lazy posts that have come into line since
	following bool      // one of lazy is in line
	posted    int64     // bytes ever posted, without those taken back
	sent      int64     // bytes ever delivered
	awaited   []*awaited
	writing   bool // there is a writer, or parked is set
	err       error
	elsewhere bool          // err is that of End: what was in the queue goes out elsewhere
	held      chan struct{} // closed when a Hold ends; nil: there is none
	parked    bool          // the writer has stopped until the Hold ends
	gathers   bool          // the flusher of a Burst has yet to begin, and lets what is ready run before
	gathering time.Time     // since when
	late      int           // how many flushers in a row have begun late
	hurries   time.Time     // until when Bursts gather nothing
	spares    [][]byte      // empty combining buffers
	spared    int           // their size in bytes

	// Used by the writer only.
	vec     [][]byte
	batch   []segment // what vec was made of
	whole   []byte    // a small write in one piece
	flushFn func()

	gatherFn func()
}

// A segment holds bytes that wait, or is the place of a caller that will write its own buffers.
type segment struct {
	buf    []byte
	urgent int // bytes of Urgent posts in buf
	claim  *claim
	lazy   bool // it has been one of Queue.lazy
	rest   bool // buf was made for the rest of a write: it is no combining buffer
}

// A claim is a caller's place in the queue.
type claim struct {
	turn      chan struct{} // closed when the caller is the writer, or the queue has failed
	number    int64         // how many claims there had ever been, with this one
	size      int64
	withdrawn bool // the caller has given up
}

// An awaited is what a call waits for: that bytes are delivered, or taken back.
type awaited struct {
	left   int64
	claims int64 // the claims up to this number are among the bytes
}

// QueueOptions adjust a Queue. The zero value is good.
type QueueOptions struct {
	// Limit is how many bytes may wait before callers do; 0 is DefaultQueueLimit. One post may
	// exceed it when nothing else waits.
	Limit int
	// UrgentLimit is how many bytes of Urgent posts may wait before one is ErrQueueFull; 0 is four
	// times the Limit, and a megabyte at least.
	UrgentLimit int
	// LazyLimit is how many bytes of Lazy posts may be set aside before Lazy posts wait; 0 is as
	// many as UrgentLimit. One post may exceed it.
	LazyLimit int
	// Full is called when a Post finds that much waiting that it has to wait, or, under NoWait, is
	// refused. It must not wait, and must not use the queue. nil: nothing.
	Full func()
	// Frames says that what is posted are whole frames, each with its length in four bytes, the
	// higher ones first, before it. To a carrier that keeps packets each goes out as one, without
	// the length; a frame of length zero is an empty packet. Without it each call of WritevQueue is
	// a packet there, and posts are not for such a carrier.
	Frames bool
}

// NewQueue makes a queue in front of s.
func NewQueue(s *Stream, o *QueueOptions) *Queue {
	q := &Queue{s: s, limit: DefaultQueueLimit}
	if o != nil && o.Limit > 0 {
		q.limit = o.Limit
	}
	q.urgentLimit = max(4*q.limit, leastUrgent)
	if o != nil && o.UrgentLimit > 0 {
		q.urgentLimit = o.UrgentLimit
	}
	q.lazyLimit = q.urgentLimit
	if o != nil && o.LazyLimit > 0 {
		q.lazyLimit = o.LazyLimit
	}
	if o != nil {
		q.full, q.frames = o.Full, o.Frames
	}
	q.moved.L = &q.mu
	q.flushFn, q.gatherFn = q.flush, q.gather
	return q
}

// A PostMode says how a post goes out.
type PostMode uint8

const (
	// PostBurst says that more is about to be posted: the write is left to another goroutine, so that
	// what follows is combined with it, and to the next post that is no Burst.
	PostBurst PostMode = 1 << iota
	// PostUrgent does not wait while the queue is full: it is for a goroutine that must go on reading.
	// When more than QueueOptions.UrgentLimit bytes of Urgent posts wait it is ErrQueueFull. During
	// a Hold it waits as every post does.
	PostUrgent
	// PostLazy does not wait while the queue is full: what there is no room for is copied, whatever
	// its size, and set aside. From there it goes out behind all that was posted before, and in turns
	// with what others post from then on; Lazy posts keep their order among themselves. When
	// QueueOptions.LazyLimit bytes are aside it waits for some of them to go. It is for one who has
	// much to say of which nobody waits for the end. An Urgent post is not Lazy.
	PostLazy
)

// ErrQueueFull is what an Urgent post gets when the peer has not read for a long time.
var ErrQueueFull = errors.New("the peer does not read: too many Urgent posts are waiting")

// leastUrgent is how many bytes of Urgent posts may wait however low the limit is: they come in
// bursts that do not depend on it.
const leastUrgent = 1 << 20

// Post takes head and body, which go out together and in this order, and returns when the queue has
// them: the caller may use both buffers again. It waits while the queue is full, or, for a large
// post, until it has been written; when ctx ends before its first byte is out, nothing of it is
// sent. An earlier failure of the stream is returned. A post without a byte is EINVAL.
func (q *Queue) Post(ctx context.Context, head, body []byte, mode PostMode) error {
	n := len(head) + len(body)
	if n == 0 {
		return opError("post", q.s.remote, errEmpty)
	}
	if mode&PostUrgent != 0 {
		mode &^= PostLazy
	}
	if err := q.enter(ctx, "post", mode); err != nil {
		return err
	}
	if mode&PostUrgent != 0 && q.urgent > q.urgentLimit {
		q.mu.Unlock()
		return opError("post", q.s.remote, ErrQueueFull)
	}
	// The writer, on another goroutine, would find out too late for this caller.
	if err := q.s.usable(); err != nil {
		q.mu.Unlock()
		return opError("post", q.s.remote, err)
	}
	small := n < combineMax
	fits := q.waiting()+n <= q.limit
	if mode&PostLazy != 0 && q.writing && (q.aside > 0 || !(small && fits)) {
		q.setAside(head, body)
		q.mu.Unlock()
		return nil
	}
	full := q.full != nil && q.writing && !fits && mode&PostUrgent == 0
	if IsNoWait(ctx) && q.writing && !(small && fits) && mode&PostUrgent == 0 {
		q.mu.Unlock()
		if full {
			q.full()
		}
		return opError("post", q.s.remote, os.ErrDeadlineExceeded)
	}
	q.posted += int64(n)
	switch {
	case q.writing && (small && fits || mode&PostUrgent != 0):
		q.add(head, body, mode)
		if mode&PostBurst == 0 && q.gathers {
			return q.writeGathered()
		}
		q.mu.Unlock()
		return nil
	case q.writing:
		c := q.claim(int64(n))
		q.endGather()
		q.mu.Unlock()
		if full {
			q.full()
		}
		if err := q.turn(ctx, c); err != nil {
			return err
		}
	case small && mode&PostBurst != 0 || (small || mode&(PostUrgent|PostLazy) != 0) && q.s.car.takesItsTime():
		q.writing = true
		q.add(head, body, mode)
		q.begin()
		q.mu.Unlock()
		return nil
	default:
		q.writing = true
		q.mu.Unlock()
	}
	if small || mode&(PostUrgent|PostLazy) != 0 { // the queue has room for what the socket does not take
		ctx = NoWait()
	}
	return q.write(ctx, head, body)
}

// WritevQueue sends the buffers, which go out together and in this order, behind what was posted
// before, and returns when all of them have been delivered to the socket, with their length in
// bytes, or with the reason why they were not. Any number of calls may be in flight; each gets its
// own result. When ctx ends while they wait for their turn nothing of them is sent: the count is 0
// with ctx's error, and no other call is harmed. When it ends later they go out all the same,
// whole, and the count is their length beside ctx's error. The buffers are the caller's again when
// WritevQueue returns; they are not combined with what others send, as those of Post are. A call
// without a byte is EINVAL. See the tsocket guide, "Async 'tevent_queue' based helper functions".
func (q *Queue) WritevQueue(ctx context.Context, v ...[]byte) (int64, error) {
	n := length(v)
	if n == 0 {
		return 0, opError("write", q.s.remote, errEmpty)
	}
	if err := q.enter(ctx, "write", 0); err != nil {
		return 0, err
	}
	if q.writing && IsNoWait(ctx) {
		q.mu.Unlock()
		return 0, opError("write", q.s.remote, os.ErrDeadlineExceeded)
	}
	q.posted += n
	if q.writing {
		c := q.claim(n)
		q.endGather()
		q.mu.Unlock()
		if err := q.turn(ctx, c); err != nil {
			return 0, err
		}
	} else {
		q.writing = true
		q.mu.Unlock()
	}
	if q.s.car.takesItsTime() && ctx.Done() != nil {
		return q.hand(ctx, v...)
	}
	q.vec = append(q.vec[:0], v...)
	sent, late, err := q.writeVec(ctx, func(error) bool { return false })
	if late != nil { // the queue writes the rest
		return n, late
	}
	return sent, err
}

// enter locks q.mu for a call that wants to send, and leaves it locked if the error is nil. It
// waits for the end of a Hold and, if mode is PostLazy, for room aside, and returns an earlier
// failure of the stream.
func (q *Queue) enter(ctx context.Context, op string, mode PostMode) error {
	if err := ended(ctx); err != nil {
		return opError(op, q.s.remote, err)
	}
	q.mu.Lock()
	err := q.admitted(ctx, op, mode)
	if err != nil {
		q.mu.Unlock()
	}
	return err
}

// admitted is enter with q.mu held, on return too.
func (q *Queue) admitted(ctx context.Context, op string, mode PostMode) error {
	for {
		if q.held != nil {
			if err := q.resumed(ctx); err != nil {
				return opError(op, q.s.remote, err)
			}
		}
		if q.err != nil || mode&PostLazy == 0 || q.aside < q.lazyLimit {
			return q.err
		}
		if err := q.awaitLocked(ctx, op, func() bool { return q.aside < q.lazyLimit }); err != nil {
			return err
		}
	}
}

// Trim frees the buffers that an idle queue keeps for its next burst.
func (q *Queue) Trim() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.writing {
		q.spares, q.spared, q.whole = nil, 0, nil
	}
}

// waiting is how many bytes wait in line and are in flight; q.mu is held.
func (q *Queue) waiting() int {
	if q.err != nil {
		return 0
	}
	return int(q.posted - q.sent)
}

// delivered counts bytes that have left; q.mu is held.
func (q *Queue) delivered(n int64) {
	q.sent += n
	q.past(n)
}

// past tells those who wait of the next n bytes in order: they are delivered, or taken back; q.mu
// is held.
func (q *Queue) past(n int64) {
	for _, w := range q.awaited {
		w.left -= n
	}
	if q.watched > 0 {
		q.moved.Broadcast()
	}
}

// fail makes err the result of every call that waits or is still to come; q.mu is held.
func (q *Queue) fail(err error) {
	if q.err == nil {
		q.err = err
	}
	for _, s := range q.segs {
		if s.claim != nil {
			close(s.claim.turn)
		}
	}
	q.segs, q.lazy, q.open, q.given, q.writing, q.gathers = nil, nil, false, 0, false, false
	q.moved.Broadcast()
}

// Flush waits until everything posted so far has been delivered to the socket, or ctx ends, or the
// stream fails: then the error says which. If everything has been delivered it is nil, also after
// the queue's end, by End or a failure.
func (q *Queue) Flush(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	// what is aside has first to come into line
	all := q.followed + int64(q.aside)
	if err := q.awaitLocked(ctx, "write", func() bool { return q.followed >= all }); err != nil {
		return err
	}
	w := q.awaits(q.posted-q.sent, q.claims)
	defer q.forget(w)
	return q.awaitLocked(ctx, "write", func() bool { return w.left <= 0 })
}

// awaits begins to count the next n bytes in order, of which claims up to that number may be taken
// back; q.mu is held.
func (q *Queue) awaits(n, claims int64) *awaited {
	w := &awaited{n, claims}
	q.awaited = append(q.awaited, w)
	return w
}

// forget ends awaits; q.mu is held.
func (q *Queue) forget(w *awaited) {
	i := slices.Index(q.awaited, w)
	q.awaited = slices.Delete(q.awaited, i, i+1)
}

// await waits until over, which is called with q.mu held, or ctx ends, or the queue fails.
func (q *Queue) await(ctx context.Context, op string, over func() bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.awaitLocked(ctx, op, over)
}

// awaitLocked is await with q.mu held, but not while it waits.
func (q *Queue) awaitLocked(ctx context.Context, op string, over func() bool) error {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.moved.Broadcast()
		})()
	}
	for !over() {
		if q.err != nil {
			return q.err
		}
		if err := ended(ctx); err != nil {
			return opError(op, q.s.remote, err)
		}
		if IsNoWait(ctx) {
			return opError(op, q.s.remote, os.ErrDeadlineExceeded)
		}
		q.watched++
		q.moved.Wait()
		q.watched--
	}
	return nil
}

// Buffered returns how many bytes wait or are in flight, without those of Lazy posts that are set
// aside, and how many have ever been delivered to the socket.
func (q *Queue) Buffered() (bytes int, sent int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting(), q.sent
}
