package transport

import (
	"context"
	"os"
	"slices"
)

// A delivery is a call that waits until the queue's writer, on another goroutine, has written its bytes.
type delivery struct {
	size             int
	taken, withdrawn bool          // guarded by the queue's mutex: one of them at the most is ever set
	left             bool          // its caller has gone, and leaves the bytes to the queue; guarded too
	done             chan struct{} // gets one value, when n and err are there
	n                int64
	err              error
}

func (d *delivery) end(n int64, err error) {
	d.n, d.err = n, err
	d.done <- struct{}{}
}

// delivery returns a new delivery, or one that was used before.
func (q *Queue) delivery(size int) *delivery {
	d, ok := q.idle.Get().(*delivery)
	if !ok {
		d = &delivery{done: make(chan struct{}, 1)}
	}
	d.size, d.taken, d.withdrawn, d.left = size, false, false, false
	return d
}

// dropStale drops and counts the bytes in s whose callers have withdrawn them; q.mu is held.
func (q *Queue) dropStale(s *segment) (withdrawn int64) {
	if !slices.ContainsFunc(s.parts, func(p part) bool { return p.d.withdrawn }) {
		return 0
	}
	kept, buf, from, gone := s.parts[:0], s.buf[:0], 0, 0
	for _, p := range s.parts {
		if !p.d.withdrawn {
			kept = append(kept, part{p.d, p.end - gone})
			continue
		}
		buf = append(buf, s.buf[from:p.end-p.d.size]...)
		from, gone = p.end, gone+p.d.size
	}
	clear(s.parts[len(kept):])
	s.parts, s.buf = kept, append(buf, s.buf[from:]...)
	q.stale -= gone
	return int64(gone)
}

// isEmpty reports whether a segment only counts bytes that were there.
func (s *segment) isEmpty() bool { return s.claim == nil && len(s.buf) == 0 }

// tidy frees the bytes and claims of calls that gave up, once they are a good part of what the queue may hold, or of the places in it.
// Their sizes stay, to be counted when their turn would have come. q.mu is held.
func (q *Queue) tidy() {
	if q.stale <= q.limit/2 && q.given <= max(fewGiven, len(q.segs)/2) {
		return
	}
	last := len(q.segs) - 1
	kept := q.segs[:0]
	for i := range q.segs {
		s := q.segs[i]
		if s.claim != nil && s.claim.withdrawn {
			s = segment{withdrawn: int64(s.claim.size)}
		} else if n := q.dropStale(&s); n > 0 {
			s.withdrawn += n
			s.buf, s.parts = slices.Clone(s.buf), slices.Clone(s.parts)
		}
		if k := len(kept) - 1; k >= 0 && s.isEmpty() && kept[k].isEmpty() && (i < last || !q.open) {
			kept[k].withdrawn += s.withdrawn
			continue
		}
		kept = append(kept, s)
	}
	clear(q.segs[len(kept):])
	q.segs, q.given = kept, 0
}

// WritevQueue sends the buffers, which go out together and in this order, behind what was posted before, and returns when all of them have
// been delivered to the socket, with their length in bytes, or with the reason why they were not. Any number of calls may be in flight;
// each gets its own result. When ctx ends while they wait for their turn nothing of them is sent: the count is 0 with ctx's error, and no
// other call is harmed. When it ends later they go out all the same, whole, and the count is their length beside ctx's error. The buffers
// are the caller's again when WritevQueue returns. A call without a byte is EINVAL. See the tsocket guide, "Async 'tevent_queue' based
// helper functions".
func (q *Queue) WritevQueue(ctx context.Context, v ...[]byte) (int64, error) {
	n := length(v)
	if n == 0 {
		return 0, opError("write", q.s.remote, errEmpty)
	}
	if err := q.enter(ctx, "write"); err != nil {
		return 0, err
	}
	single := IsNoWait(ctx)
	if single && q.writing {
		q.mu.Unlock()
		return 0, opError("write", q.s.remote, os.ErrDeadlineExceeded)
	}
	fits := n < combineMax && q.queued+int(n) <= q.limit
	q.queued += int(n)
	q.posted += n
	switch slow := q.s.car.takesItsTime() && !single; {
	case slow || q.writing && fits: // copied, and combined with what else waits; a slow carrier's write cannot be left half-way
		d := q.copied(v, int(n))
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
	if late != nil { // the queue writes the rest
		return n, late
	}
	return sent, err
}

// copied puts a copy of v, of n bytes, last in the queue; q.mu is held.
func (q *Queue) copied(v [][]byte, n int) *delivery {
	d := q.delivery(n)
	if n >= combineMax {
		q.segs, q.open = append(q.segs, segment{buf: slices.Concat(v...), parts: []part{{d, n}}}), false
		return d
	}
	last := q.last(n, n)
	for _, p := range v {
		last.buf = append(last.buf, p...)
	}
	last.parts = append(last.parts, part{d, len(last.buf)})
	q.open = len(last.buf) < combineFull
	return d
}

// hand leaves the writer's bytes to the flusher: their caller may not want to wait as long as the carrier takes. They go first, and what
// is left of them when ctx ends goes out all the same.
func (q *Queue) hand(ctx context.Context, head, body []byte) error {
	n := len(head) + len(body)
	d := q.delivery(n)
	s := segment{buf: slices.Concat(head, body), parts: []part{{d, n}}, rest: true}
	single := IsNoWait(ctx)
	if single { // nothing is before these bytes in the queue: they are as good as out
		s.parts = nil
	}
	q.mu.Lock()
	q.segs = slices.Insert(q.segs, 0, s)
	q.mu.Unlock()
	go q.flushFn()
	if single {
		return nil
	}
	out, err := q.deliver(ctx, d)
	if int(out) == n {
		return nil
	}
	return err
}

// deliver waits for a delivery.
func (q *Queue) deliver(ctx context.Context, d *delivery) (int64, error) {
	select {
	case <-d.done:
		return q.result(d)
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-d.done: // at the same moment
		return q.result(d)
	default:
	}
	if d.taken {
		d.left = true
		return int64(d.size), opError("write", q.s.remote, ctx.Err())
	}
	d.withdrawn = true
	q.queued -= d.size
	q.stale += d.size
	q.tidy()
	return 0, opError("write", q.s.remote, ctx.Err())
}

// result returns the result of a delivery that is done, and keeps the delivery for another call.
func (q *Queue) result(d *delivery) (n int64, err error) {
	n, err = d.n, d.err
	d.err = nil
	q.idle.Put(d)
	return n, err
}
