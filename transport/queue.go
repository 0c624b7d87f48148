package transport

import (
	"context"
	"errors"
	"sync"
	"syscall"
)

const (
	// DefaultQueueLimit is how many bytes a Queue holds before its callers wait: as much as a BEAM's distribution buffer
	// (erl +zdbbl).
	DefaultQueueLimit = 1 << 20

	// Posts up to this size are copied together; larger ones keep their own buffer.
	combineMax = 8 << 10
	// A combining buffer starts small and is kept for the next round up to combineKeep.
	combineKeep = 128 << 10
)

// A Queue serialises many writers on a Stream's sending direction. Order is strict: what was posted first goes out first, whole.
// A lone write goes out at once, on its caller's goroutine; what is posted while a write is in flight is combined and goes out
// together in one system call. Its methods are safe for concurrent use. Nothing else may write to the stream.
type Queue struct {
	s     *Stream
	limit int

	mu       sync.Mutex
	space    sync.Cond // signalled when bytes have left, or the queue failed
	segs     [][]byte  // waiting, in order
	tail     []byte    // the last of segs, when it is a combining buffer: small posts are appended to it
	spare    []byte    // an empty combining buffer
	spareVec [][]byte
	queued   int   // bytes waiting and in flight
	posted   int64 // bytes ever taken
	sent     int64 // bytes ever delivered
	flushing bool  // somebody is writing
	waiters  int
	err      error
	flushFn  func()
	vec      [2][]byte
}

// QueueOptions adjust a Queue. The zero value is good.
type QueueOptions struct {
	// Limit is how many bytes may wait before callers do; 0 is DefaultQueueLimit. One post may exceed it when nothing else waits.
	Limit int
}

// NewQueue makes a queue in front of s.
func NewQueue(s *Stream, o *QueueOptions) *Queue {
	q := &Queue{s: s, limit: DefaultQueueLimit}
	if o != nil && o.Limit > 0 {
		q.limit = o.Limit
	}
	q.space.L = &q.mu
	q.flushFn = q.flush
	return q
}

// A PostMode says how a post goes out.
type PostMode uint8

const (
	// Burst says that the caller is about to post more: the write is left to another goroutine, so that what follows is combined
	// with it.
	Burst PostMode = 1 << iota
	// Urgent does not wait while the queue is full: it is for a goroutine that must go on reading. Beyond four times the limit it
	// is ErrQueueFull.
	Urgent
)

// ErrQueueFull is what an Urgent post gets when the peer has not read for a long time.
var ErrQueueFull = errors.New("the peer does not read: four times the queue's limit is waiting")

// Post takes head and body, which go out together and in this order, and returns when the queue has them: the caller may use
// both buffers again. It waits while the queue is full; when ctx ends meanwhile, nothing of them is sent. An earlier failure of
// the stream is returned.
func (q *Queue) Post(ctx context.Context, head, body []byte, mode PostMode) error {
	n := len(head) + len(body)
	if n == 0 {
		return opError("post", q.s.remote, syscall.EINVAL)
	}
	q.mu.Lock()
	if err := q.room(ctx, n, mode); err != nil {
		q.mu.Unlock()
		return err
	}
	q.queued += n
	q.posted += int64(n)
	if q.flushing {
		q.add(head, body)
		q.mu.Unlock()
		return nil
	}
	q.flushing = true
	if mode&Burst != 0 || q.s.car.waitsItself() { // its callbacks may take their time
		q.add(head, body)
		q.mu.Unlock()
		go q.flushFn()
		return nil
	}
	q.mu.Unlock()
	return q.direct(head, body)
}

// direct writes on the caller's goroutine what can be written without waiting, and leaves the rest to the flusher.
func (q *Queue) direct(head, body []byte) error {
	q.vec[0], q.vec[1] = head, body
	n, err := q.s.try(q.vec[:])
	left := len(head) + len(body) - int(n)
	q.mu.Lock()
	q.delivered(n)
	if err != nil && !again(err) {
		q.fail(err)
		q.mu.Unlock()
		return err
	}
	if left > 0 { // what others have posted meanwhile comes after it
		later := q.segs
		q.segs, q.tail = nil, nil
		k := min(int(n), len(head))
		q.add(head[k:], body[int(n)-k:])
		q.segs = append(q.segs, later...)
		q.tail = nil
	}
	if len(q.segs) == 0 {
		q.flushing = false
		q.mu.Unlock()
		return nil
	}
	q.mu.Unlock()
	go q.flushFn()
	return nil
}

// room waits until the queue may take n bytes; q.mu is held.
func (q *Queue) room(ctx context.Context, n int, mode PostMode) error {
	if q.err != nil {
		return q.err
	}
	if mode&Urgent != 0 {
		if q.queued > 4*q.limit {
			return opError("post", q.s.remote, ErrQueueFull)
		}
		return nil
	}
	if err := ended(ctx); err != nil {
		return opError("post", q.s.remote, err)
	}
	if q.queued == 0 || q.queued+n <= q.limit {
		return nil
	}
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.space.Broadcast()
		})()
	}
	for q.queued > 0 && q.queued+n > q.limit {
		q.waiters++
		q.space.Wait()
		q.waiters--
		if q.err != nil {
			return q.err
		}
		if err := ended(ctx); err != nil {
			return opError("post", q.s.remote, err)
		}
	}
	return nil
}

// add copies a post behind what waits; q.mu is held.
func (q *Queue) add(head, body []byte) {
	if len(head)+len(body) > combineMax {
		b := make([]byte, 0, len(head)+len(body))
		q.segs = append(q.segs, append(append(b, head...), body...))
		q.tail = nil
		return
	}
	if q.tail == nil {
		q.tail, q.spare = q.spare[:0], nil
		q.segs = append(q.segs, nil)
	}
	q.tail = append(append(q.tail, head...), body...)
	q.segs[len(q.segs)-1] = q.tail
	if len(q.tail) >= combineKeep {
		q.tail = nil
	}
}

// flush writes until nothing waits.
func (q *Queue) flush() {
	var mine [][]byte
	q.mu.Lock()
	for len(q.segs) > 0 && q.err == nil {
		mine, q.segs, q.tail = q.segs, q.spareVec[:0], nil
		q.spareVec = nil
		q.mu.Unlock()
		n, err := q.s.Writev(context.Background(), mine...)
		q.mu.Lock()
		q.delivered(n)
		for _, b := range mine {
			if cap(b) > cap(q.spare) && cap(b) <= 2*combineKeep {
				q.spare = b
			}
		}
		clear(mine)
		q.spareVec = mine
		if err != nil {
			q.fail(err)
		}
	}
	q.flushing = false
	q.mu.Unlock()
}

// delivered counts bytes that have left; q.mu is held.
func (q *Queue) delivered(n int64) {
	q.sent += n
	q.queued -= int(n)
	if q.waiters > 0 {
		q.space.Broadcast()
	}
}

// fail makes err the answer to everything that waits and comes; q.mu is held.
func (q *Queue) fail(err error) {
	if q.err == nil {
		q.err = err
	}
	q.segs, q.tail, q.queued, q.flushing = nil, nil, 0, false
	q.space.Broadcast()
}

// WritevQueue takes the buffers, which go out together, and returns when all of them have been delivered to the socket, or with
// the reason why they were not. The buffers are copied. When ctx ends the bytes may still go out, whole.
func (q *Queue) WritevQueue(ctx context.Context, v ...[]byte) (int64, error) {
	n := length(v)
	var b []byte
	if len(v) == 1 {
		b = v[0]
	} else {
		b = make([]byte, 0, n)
		for _, p := range v {
			b = append(b, p...)
		}
	}
	if err := q.Post(ctx, b, nil, 0); err != nil {
		return 0, err
	}
	q.mu.Lock()
	end := q.posted // at least our own end
	q.mu.Unlock()
	if err := q.until(ctx, end); err != nil {
		return 0, err
	}
	return n, nil
}

// Flush waits until everything posted so far has been delivered to the socket.
func (q *Queue) Flush(ctx context.Context) error {
	q.mu.Lock()
	end := q.posted
	q.mu.Unlock()
	return q.until(ctx, end)
}

func (q *Queue) until(ctx context.Context, end int64) error {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.space.Broadcast()
		})()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.sent < end {
		if q.err != nil {
			return q.err
		}
		if err := ended(ctx); err != nil {
			return opError("write", q.s.remote, err)
		}
		q.waiters++
		q.space.Wait()
		q.waiters--
	}
	return nil
}

// Buffered is the number of bytes that wait or are in flight, and Sent that of the bytes ever delivered to the socket.
func (q *Queue) Buffered() (bytes int, sent int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queued, q.sent
}

// try writes what can be written without waiting. Only a Queue uses it, for a carrier whose waiting is the SDK's.
func (s *Stream) try(v [][]byte) (n int64, err error) {
	if err := s.beginWrite(); err != nil {
		return 0, opError("write", s.remote, err)
	}
	defer s.writing.Store(false)
	s.rest = append(s.rest[:0], v...)
	n, err = s.writeRest(NoWait())
	clear(s.rest)
	if isTimeout(err) {
		err = syscall.EAGAIN
	} else {
		err = opError("write", s.remote, err)
	}
	return n, err
}
