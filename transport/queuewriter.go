package transport

import (
	"context"
	"errors"
	"slices"
)

// claim takes a place behind what waits; q.mu is held.
func (q *Queue) claim(size int) *claim {
	c := &claim{turn: make(chan struct{}), size: size}
	q.segs, q.open = append(q.segs, segment{claim: c}), false
	return c
}

// turn waits until the caller is the writer.
func (q *Queue) turn(ctx context.Context, c *claim) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		q.mu.Lock()
		select {
		case <-c.turn: // at the same moment
			q.mu.Unlock()
		default:
			c.withdrawn = true
			q.queued -= c.size
			q.given++
			q.tidy()
			q.mu.Unlock()
			return opError("post", q.s.remote, ctx.Err())
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// write is called by the writer: it writes a caller's buffers until ctx ends. What is left then goes to the front of the queue, if its
// first bytes are out or the error is a time-out.
func (q *Queue) write(ctx context.Context, head, body []byte) error {
	if q.s.car.takesItsTime() { // ending its write half-way would end the connection
		if ctx.Done() != nil || IsNoWait(ctx) {
			return q.hand(ctx, head, body)
		}
		ctx = context.Background()
	}
	q.vec = append(q.vec[:0], head, body)
	_, _, err := q.writeVec(ctx, isTimeout)
	return err
}

// writeVec is called by the writer: it writes what q.vec holds until ctx ends; afterwards the caller is the writer no more. What is left
// then goes to the front of the queue, if a part is out or keep says so, and late says why it was left; otherwise it is the caller's again,
// and err says why. Any other error ends the queue.
func (q *Queue) writeVec(ctx context.Context, keep func(error) bool) (n int64, late, err error) {
	size := length(q.vec)
	if len(q.vec) > 1 && size <= joinMax {
		q.whole = q.whole[:0]
		for _, p := range q.vec {
			q.whole = append(q.whole, p...)
		}
		clear(q.vec)
		q.vec = append(q.vec[:0], q.whole)
	}
	returned := false
	defer func() {
		if !returned {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.exited()
		}
	}()
	n, err = q.s.writePart(ctx, q.vec)
	returned = true
	left := int(size - n)
	q.mu.Lock()
	defer q.mu.Unlock()
	defer clear(q.vec)
	q.delivered(n)
	switch {
	case left == 0:
		err = nil
	case !isTimeout(err) && (ctx.Err() == nil || !errors.Is(err, ctx.Err())):
		err = opError("write", q.s.remote, err)
		q.fail(err)
		return n, nil, err
	case n == 0 && !keep(err): // nothing is out: the caller takes it back
		err = opError("post", q.s.remote, err)
		q.queued -= left
		q.past(int64(left))
	default:
		late, err = opError("write", q.s.remote, err), nil
		q.segs = slices.Insert(q.segs, 0, segment{buf: slices.Concat(skip(q.vec, n)...), rest: true})
	}
	switch {
	case len(q.segs) > 0:
		go q.flushFn()
	case q.held != nil:
		q.park()
	default:
		q.writing = false
	}
	return n, late, err
}

// last returns the combining buffer, with room for least bytes more and, as far as combineFull allows, for n; q.mu is held. If least bytes
// would make the buffer larger than combineFull, a new one begins: a batch of several goes out in one call as well, and the buffers that
// are kept for the next burst stay small.
func (q *Queue) last(least, n int) *segment {
	if !q.open || len(q.segs[len(q.segs)-1].buf)+least > combineFull {
		var s segment
		if k := len(q.spares); k > 0 {
			s = q.spares[k-1]
			q.spares[k-1] = segment{}
			q.spares, q.spared = q.spares[:k-1], q.spared-cap(s.buf)
		}
		q.segs = append(q.segs, s)
	}
	last := &q.segs[len(q.segs)-1]
	need := max(len(last.buf)+least, min(len(last.buf)+n, combineFull))
	if need > cap(last.buf) { // append would grow it by less, and copy what is there more often
		last.buf = append(make([]byte, 0, max(need, min(2*cap(last.buf), combineFull))), last.buf...)
	}
	return last
}

// add copies a post behind what waits; q.mu is held. It fills one buffer after the other to the last byte: half-full buffers would take
// more memory than the queue's limit, and those beyond the limit would have to be allocated anew for each burst.
func (q *Queue) add(head, body []byte, mode PostMode) {
	for n := len(head) + len(body); n > 0; {
		last := q.last(1, n)
		had := len(last.buf)
		for _, p := range []*[]byte{&head, &body} {
			k := min(len(*p), combineFull-len(last.buf))
			last.buf, *p = append(last.buf, (*p)[:k]...), (*p)[k:]
		}
		taken := len(last.buf) - had
		if mode&Urgent != 0 {
			last.urgent += taken
			q.urgent += taken
		}
		q.open = len(last.buf) < combineFull
		n -= taken
	}
}

// flush is the writer until nothing waits, or the turn of a caller has come.
func (q *Queue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.segs) > 0 && q.err == nil {
		if q.held != nil {
			q.park()
			return
		}
		if c := q.segs[0].claim; c != nil {
			q.drop(1)
			if !c.withdrawn {
				close(c.turn)
				return
			}
			q.given--
			q.past(int64(c.size))
			continue
		}
		withdrawn := q.take()
		var n int64
		var err error
		if len(q.vec) > 0 {
			n, err = q.out()
		}
		if err == ErrPaused {
			q.putBack(n)
			err = nil
		} else if err != nil {
			err = opError("write", q.s.remote, err)
		}
		q.settle(n, err)
		q.delivered(n)
		q.past(withdrawn)
		if err != nil {
			q.fail(err)
			return
		}
	}
	if q.held != nil {
		q.park()
		return
	}
	q.writing = false
}

// out writes the batch; q.mu is held, except during the write. A callback that ends its goroutine ends the queue.
func (q *Queue) out() (n int64, err error) {
	err = errExited
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		if err == errExited {
			q.exited()
		}
	}()
	return q.s.writePart(context.Background(), q.vec)
}

// exited ends a queue whose writer's goroutine has ended; q.mu is held.
func (q *Queue) exited() {
	err := opError("write", q.s.remote, errExited)
	q.settle(0, err)
	q.fail(err)
}

// take makes a batch of what waits before the next claim; q.mu is held. It returns how many bytes before the batch their callers have
// withdrawn.
func (q *Queue) take() (withdrawn int64) {
	k := 0
	q.vec, q.batch = q.vec[:0], q.batch[:0]
	for ; k < len(q.segs) && q.segs[k].claim == nil; k++ {
		s := q.segs[k]
		s.withdrawn += q.dropStale(&s)
		for _, p := range s.parts {
			p.d.taken = true
		}
		switch last := len(q.batch) - 1; {
		case len(s.buf) > 0:
			q.vec, q.batch = append(q.vec, s.buf), append(q.batch, s)
		case last >= 0: // counted when the segment before it is out, for a Hold may put that back
			q.batch[last].withdrawn += s.withdrawn
		default:
			withdrawn += s.withdrawn
		}
	}
	q.drop(k)
	return withdrawn
}

// drop takes k segments off the front; q.mu is held.
func (q *Queue) drop(k int) {
	if len(q.segs) > manySegments { // to move all the others up each time would take too long; append finds them a new place
		clear(q.segs[:k])
		q.segs = q.segs[k:]
	} else {
		q.segs = slices.Delete(q.segs, 0, k)
	}
	if len(q.segs) == 0 {
		q.open = false
	}
}

// settle ends a batch of which n bytes are out: every call in it gets its own result; q.mu is held.
func (q *Queue) settle(n int64, err error) {
	for _, s := range q.batch {
		q.urgent -= s.urgent
		if err == nil { // otherwise the bytes before it are not out, and Flush must fail
			q.past(s.withdrawn)
		}
		for _, p := range s.parts {
			if out := n - int64(p.end-p.d.size); out >= int64(p.d.size) {
				p.d.end(int64(p.d.size), nil)
			} else {
				p.d.end(max(out, 0), err)
			}
		}
		if size := cap(s.buf); !s.rest && size <= combineFull && q.spared+size <= q.limit {
			clear(s.parts)
			q.spares = append(q.spares, segment{buf: s.buf[:0], parts: s.parts[:0]})
			q.spared += size
		}
		n -= int64(len(s.buf))
	}
	clear(q.batch)
	clear(q.vec)
}
