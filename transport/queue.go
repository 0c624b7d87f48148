package transport

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/internal/queue"
)

const (
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
	// that the processors are busy: posts with More gather nothing for so long.
	gatherLate  = time.Millisecond
	gatherLates = 3
	gatherPause = time.Second
)

// A postQueue is the queue.Queue of a stream.
//
// At any time one goroutine at the most is the writer: a caller whose post found the queue idle or
// whose turn has come, or the flusher, which lives as long as something waits.
type postQueue struct {
	s           *Stream
	limit       int
	nowLimit    int
	lazilyLimit int
	full        func() // see queue.Options; may be nil
	frames      bool

	mu        sync.Mutex
	moved     sync.Cond // bytes have left, or the queue failed
	watched   int       // goroutines that wait on moved
	segs      []segment // waiting, in order
	open      bool      // the last of segs is a combining buffer that takes more
	claims    int64     // claims ever made
	given     int       // claims in segs that their callers have given up
	now       int       // bytes of posts that are Now in segs
	lazy      []segment // posts that are Lazily and not in line yet, each whole in one of them
	aside     int       // their bytes
	followed  int64     // their bytes that have come into line since
	following bool      // one of lazy is in line
	posted    int64     // bytes ever posted, without those taken back
	sent      int64     // bytes ever delivered
	awaited   []*awaited
	writing   bool // there is a writer, or parked is set
	err       error
	elsewhere bool          // err is that of End: what was in the queue goes out elsewhere
	held      chan struct{} // closed when a Hold ends; nil: there is none
	parked    bool          // the writer has stopped until the Hold ends
	gathers   bool          // the flusher has yet to begin, and lets what is ready run before
	gathering time.Time     // since when
	late      int           // how many flushers in a row have begun late
	hurries   time.Time     // until when posts with More gather nothing
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
	buf   []byte
	now   int // bytes of posts that are Now in buf
	claim *claim
	lazy  bool // it has been one of Queue.lazy
	rest  bool // buf was made for the rest of a write: it is no combining buffer
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

// Posts makes a queue in front of s, for package nodes; nil options are good ones. Other programs
// have [Queue].
func (s *Stream) Posts(o *queue.Options) queue.Queue { return newPostQueue(s, o) }

func newPostQueue(s *Stream, o *queue.Options) *postQueue {
	q := &postQueue{s: s, limit: queue.DefaultLimit}
	if o != nil && o.Limit > 0 {
		q.limit = o.Limit
	}
	q.nowLimit = max(4*q.limit, leastNow)
	if o != nil && o.NowLimit > 0 {
		q.nowLimit = o.NowLimit
	}
	q.lazilyLimit = q.nowLimit
	if o != nil && o.LazilyLimit > 0 {
		q.lazilyLimit = o.LazilyLimit
	}
	if o != nil {
		q.full, q.frames = o.Full, o.Frames
	}
	q.moved.L = &q.mu
	q.flushFn, q.gatherFn = q.flush, q.gather
	return q
}

// ErrQueueFull is what a post that is Now gets when the peer has not read for a long time.
var ErrQueueFull = errors.New("the peer does not read: too many posts that go at once are waiting")

// leastNow is how many bytes of posts that are Now may wait however low the limit is: they come in
// bursts that do not depend on it.
const leastNow = 1 << 20

// A postWay is what becomes of a post.
type postWay uint8

const (
	postWrites  postWay = iota // the queue is idle: the caller is the writer
	postStarts                 // the queue is idle: it is copied, and the flusher begins
	postJoins                  // it is copied behind what waits
	postAside                  // it is set aside
	postClaims                 // it waits for its turn, and then the caller is the writer
	postRefused                // it would have to wait for its turn, and must not
	postTooMany                // ErrQueueFull
)

// A postPlan says what becomes of a post, and of what the socket does not take of it.
type postPlan struct {
	way    postWay
	full   bool // queue.Options.Full is told
	lasts  bool // the post waits for the socket; else the queue takes the rest
	now    bool
	gather bool // what the flusher has yet to write goes out with it
}

// plan says what becomes of a post of n bytes; q.mu is held.
func (q *postQueue) plan(n int, how queue.How, noWait bool) postPlan {
	small, fits := n < combineMax, q.waiting()+n <= q.limit
	more, now := how&queue.More != 0, how&queue.Now != 0
	lazy := isLazily(how)
	p := postPlan{lasts: !small && !now && !lazy, now: now, gather: !more}
	switch {
	case now && q.now > q.nowLimit:
		p.way = postTooMany
	case !q.writing && (small && more || !p.lasts && q.s.car.takesItsTime()):
		p.way = postStarts
	case !q.writing:
		p.way = postWrites
	case lazy && (q.aside > 0 || !small || !fits):
		p.way = postAside
	case small && fits || now:
		p.way = postJoins
	case noWait:
		p.way, p.full = postRefused, !fits
	default:
		p.way, p.full = postClaims, !fits
	}
	return p
}

// isLazily reports whether a post is Lazily; one that is Now is not.
func isLazily(how queue.How) bool { return how&(queue.Lazily|queue.Now) == queue.Lazily }

// Post is that of a queue.Queue.
func (q *postQueue) Post(ctx context.Context, head, body []byte, how queue.How) error {
	n := len(head) + len(body)
	if n == 0 {
		return opError("post", q.s.remote, errEmpty)
	}
	if err := q.enter(ctx, "post", isLazily(how)); err != nil {
		return err
	}
	p := q.plan(n, how, IsNoWait(ctx))
	if p.way == postTooMany {
		q.mu.Unlock()
		return opError("post", q.s.remote, ErrQueueFull)
	}
	// The writer, on another goroutine, would find out too late for this caller.
	if err := q.s.usable(); err != nil {
		q.mu.Unlock()
		return opError("post", q.s.remote, err)
	}
	switch p.way {
	case postAside:
		q.setAside(head, body)
		q.mu.Unlock()
		return nil
	case postRefused:
		q.mu.Unlock()
		q.tellFull(p.full)
		return opError("post", q.s.remote, os.ErrDeadlineExceeded)
	}
	q.posted += int64(n)
	switch p.way {
	case postJoins:
		q.add(head, body, p.now)
		if p.gather && q.gathers {
			return q.writeGathered()
		}
		q.mu.Unlock()
		return nil
	case postStarts:
		q.writing = true
		q.add(head, body, p.now)
		q.begin()
		q.mu.Unlock()
		return nil
	case postClaims:
		c := q.claim(int64(n))
		q.endGather()
		q.mu.Unlock()
		q.tellFull(p.full)
		if err := q.turn(ctx, c); err != nil {
			return err
		}
	case postWrites:
		q.writing = true
		q.mu.Unlock()
	}
	if !p.lasts { // the queue has room for what the socket does not take
		ctx = NoWait()
	}
	return q.write(ctx, head, body)
}

// tellFull tells whoever wants to know it that the queue is full.
func (q *postQueue) tellFull(full bool) {
	if full && q.full != nil {
		q.full()
	}
}

// Deliver is that of a queue.Queue.
func (q *postQueue) Deliver(ctx context.Context, v ...[]byte) (int64, error) {
	n := length(v)
	if n == 0 {
		return 0, opError("write", q.s.remote, errEmpty)
	}
	if err := q.enter(ctx, "write", false); err != nil {
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
// waits for the end of a Hold and, for a post that is Lazily, for room aside, and returns an
// earlier failure of the stream.
func (q *postQueue) enter(ctx context.Context, op string, lazy bool) error {
	if err := ended(ctx); err != nil {
		return opError(op, q.s.remote, err)
	}
	q.mu.Lock()
	err := q.admitted(ctx, op, lazy)
	if err != nil {
		q.mu.Unlock()
	}
	return err
}

// admitted is enter with q.mu held, on return too.
func (q *postQueue) admitted(ctx context.Context, op string, lazy bool) error {
	for {
		if q.held != nil {
			if err := q.resumed(ctx); err != nil {
				return opError(op, q.s.remote, err)
			}
		}
		if q.err != nil || !lazy || q.aside < q.lazilyLimit {
			return q.err
		}
		if err := q.awaitLocked(ctx, op, func() bool { return q.aside < q.lazilyLimit }); err != nil {
			return err
		}
	}
}

// Trim is that of a queue.Queue.
func (q *postQueue) Trim() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.writing {
		q.spares, q.spared, q.whole = nil, 0, nil
	}
}

// waiting is how many bytes wait in line and are in flight; q.mu is held.
func (q *postQueue) waiting() int {
	if q.err != nil {
		return 0
	}
	return int(q.posted - q.sent)
}

// delivered counts bytes that have left; q.mu is held.
func (q *postQueue) delivered(n int64) {
	q.sent += n
	q.past(n)
}

// past tells those who wait of the next n bytes in order: they are delivered, or taken back; q.mu
// is held.
func (q *postQueue) past(n int64) {
	for _, w := range q.awaited {
		w.left -= n
	}
	if q.watched > 0 {
		q.moved.Broadcast()
	}
}

// fail makes err the result of every call that waits or is still to come; q.mu is held.
func (q *postQueue) fail(err error) {
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

// Flush is that of a queue.Queue.
func (q *postQueue) Flush(ctx context.Context) error {
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
func (q *postQueue) awaits(n, claims int64) *awaited {
	w := &awaited{n, claims}
	q.awaited = append(q.awaited, w)
	return w
}

// forget ends awaits; q.mu is held.
func (q *postQueue) forget(w *awaited) {
	i := slices.Index(q.awaited, w)
	q.awaited = slices.Delete(q.awaited, i, i+1)
}

// await waits until over, which is called with q.mu held, or ctx ends, or the queue fails.
func (q *postQueue) await(ctx context.Context, op string, over func() bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.awaitLocked(ctx, op, over)
}

// awaitLocked is await with q.mu held, but not while it waits.
func (q *postQueue) awaitLocked(ctx context.Context, op string, over func() bool) error {
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

// Buffered is that of a queue.Queue.
func (q *postQueue) Buffered() (bytes int, sent int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting(), q.sent
}
