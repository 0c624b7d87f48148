package transport

import (
	"context"
	"os"
	"syscall"
)

// A delivery is a call that waits until its bytes have been written by somebody else.
type delivery struct {
	size             int
	taken, withdrawn bool // guarded by the queue's mutex: one of them at the most is ever set
	done             chan struct{}
	n                int64
	err              error
}

func (d *delivery) end(n int64, err error) {
	d.n, d.err = n, err
	close(d.done)
}

// WritevQueue sends the buffers, which go out together and in this order, behind what was posted before, and returns when all of
// them have been delivered to the socket, with their length in bytes, or with the reason why they were not. Any number of calls may be
// in flight; each gets its own result. When ctx ends while they wait for their turn nothing of them is sent: the count is 0 with ctx's error, and no other call is harmed. When it
// ends later they go out all the same, whole, and the count is their length beside ctx's error. The buffers are the caller's again when
// WritevQueue returns. None at all is EINVAL. See the tsocket guide, "Async 'tevent_queue' based helper functions".
func (q *Queue) WritevQueue(ctx context.Context, v ...[]byte) (int64, error) {
	n := length(v)
	if n == 0 {
		return 0, opError("write", q.s.remote, syscall.EINVAL)
	}
	if err := ended(ctx); err != nil {
		return 0, opError("write", q.s.remote, err)
	}
	q.mu.Lock()
	if q.held != nil {
		if err := q.resumed(ctx); err != nil {
			q.mu.Unlock()
			return 0, opError("write", q.s.remote, err)
		}
	}
	if q.err != nil {
		defer q.mu.Unlock()
		return 0, q.err
	}
	_, single := ctx.(noWait)
	if single && q.writing {
		q.mu.Unlock()
		return 0, opError("write", q.s.remote, os.ErrDeadlineExceeded)
	}
	fits := n < combineMax && q.queued+int(n) <= q.limit
	q.queued += int(n)
	q.posted += n
	switch full := q.s.car.waitsItself() && !single; {
	case full || q.writing && fits: // a copy, combined with what else waits; what waits itself cannot be left half-way
		d := &delivery{size: int(n), done: make(chan struct{})}
		q.segs, q.open = append(q.segs, segment{buf: joined(v, n), own: d}), false
		if !q.writing {
			q.writing = true
			go q.flushFn()
		}
		q.mu.Unlock()
		return q.deliver(ctx, d)
	case q.writing:
		c := q.claim(int(n))
		q.mu.Unlock()
		if err := q.turn(ctx, c); err != nil {
			return 0, err
		}
	default:
		q.writing = true
		q.mu.Unlock()
	}
	q.vec = append(q.vec[:0], v...)
	sent, late, err := q.writeVec(ctx, func(error) bool { return false })
	if late != nil { // the rest is the queue's
		return n, late
	}
	return sent, err
}

// deliver waits for a delivery.
func (q *Queue) deliver(ctx context.Context, d *delivery) (int64, error) {
	select {
	case <-d.done:
		return d.n, d.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-d.done: // at the same moment
		return d.n, d.err
	default:
	}
	if d.taken {
		return int64(d.size), opError("write", q.s.remote, ctx.Err())
	}
	d.withdrawn = true
	q.queued -= d.size
	return 0, opError("write", q.s.remote, ctx.Err())
}

// joined is a copy of all buffers in one.
func joined(v [][]byte, n int64) []byte {
	b := make([]byte, 0, n)
	for _, p := range v {
		b = append(b, p...)
	}
	return b
}
