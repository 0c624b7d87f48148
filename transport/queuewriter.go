package transport

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"
)

// What is posted goes down to the system through these:
//
//	Post          a poster's own write, or a place in the queue (queue.go)
//	write         a caller's buffers; writeVec all that waits, in one call
//	writePart     what the carrier takes now, writeRest what it left (stream.go)
//	writeOnce     one call of the plug-in, after a wait for room if need be (ready.go, guarded.go)
//	callWrite     the plug-in's callback (transfer.go)

// claim takes a place behind what waits; q.mu is held.
func (q *postQueue) claim(size int64) *claim {
	q.claims++
	c := &claim{turn: make(chan struct{}), number: q.claims, size: size}
	q.segs, q.open = append(q.segs, segment{claim: c}), false
	return c
}

// turn waits until the caller is the writer.
func (q *postQueue) turn(ctx context.Context, c *claim) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		q.mu.Lock()
		select {
		case <-c.turn: // at the same moment
			q.mu.Unlock()
		default:
			q.withdraw(c)
			q.mu.Unlock()
			return opError("post", q.s.remote, ctx.Err())
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// withdraw takes back the bytes of a claim. Its place stays in the queue until its turn would have
// come, or such places are a good part of all. q.mu is held.
func (q *postQueue) withdraw(c *claim) {
	c.withdrawn = true
	q.posted -= c.size
	for _, w := range q.awaited {
		if c.number <= w.claims {
			w.left -= c.size
		}
	}
	if q.given++; q.given > max(fewGiven, len(q.segs)/2) {
		q.segs, q.given = slices.DeleteFunc(q.segs, segment.isGivenUp), 0
	}
	q.moved.Broadcast()
}

func (s segment) isGivenUp() bool { return s.claim != nil && s.claim.withdrawn }

// write is called by the writer: it writes a caller's buffers until ctx ends. What is left then
// goes to the front of the queue, if its first bytes are out or the error is a time-out.
func (q *postQueue) write(ctx context.Context, head, body []byte) error {
	if q.s.car.takesItsTime() {
		if ctx.Done() != nil || IsNoWait(ctx) {
			n, err := q.hand(ctx, head, body)
			if n == int64(len(head)+len(body)) {
				return nil
			}
			return err
		}
		ctx = context.Background()
	}
	q.vec = append(q.vec[:0], head, body)
	_, _, err := q.writeVec(ctx, isTimeout)
	return err
}

// hand leaves a caller's bytes to the flusher; the caller is the writer, and afterwards is so no
// more. It is for a carrier that takes its time: ending its write half-way, when ctx ends, would
// end the connection. The bytes are the queue's from now on, so all that ctx ends is the waiting
// for them; under NoWait there is none.
func (q *postQueue) hand(ctx context.Context, v ...[]byte) (int64, error) {
	buf := slices.Concat(v...)
	n := int64(len(buf))
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return 0, q.err
	}
	q.segs = slices.Insert(q.segs, 0, segment{buf: buf, rest: true})
	w := q.awaits(n, 0)
	defer q.forget(w)
	go q.flushFn()
	if IsNoWait(ctx) {
		return n, nil
	}
	err := q.awaitLocked(ctx, "write", func() bool { return w.left <= 0 })
	switch {
	case q.err == nil:
		return n, err
	case q.elsewhere: // Held has returned what is not out
		return n, nil
	}
	return n - max(w.left, 0), err
}

// writeVec is called by the writer: it writes what q.vec holds until ctx ends; afterwards the
// caller is the writer no more. What is left then goes to the front of the queue, if a part is out
// or keep says so, and late says why it was left; otherwise it is the caller's again, and err says
// why. Any other error ends the queue.
func (q *postQueue) writeVec(ctx context.Context, keep func(error) bool) (n int64, late, err error) {
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
	n, err = q.s.writePart(ctx, q.vec, q.frames)
	returned = true
	left := size - n
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
		q.posted -= left
		q.past(left)
	default:
		late, err = opError("write", q.s.remote, err), nil
		rest := slices.Concat(skip(q.vec, n)...)
		q.segs = slices.Insert(q.segs, 0, segment{buf: rest, rest: true})
	}
	switch {
	case len(q.segs) > 0 || q.aside > 0:
		go q.flushFn()
	case q.held != nil:
		q.park()
	default:
		q.writing = false
	}
	return n, late, err
}

// last returns the combining buffer, with room for one byte more at least and, as far as
// combineFull allows, for n; q.mu is held.
func (q *postQueue) last(n int) *segment {
	if !q.open {
		var s segment
		if k := len(q.spares); k > 0 {
			s.buf = q.spares[k-1]
			q.spares[k-1] = nil
			q.spares, q.spared = q.spares[:k-1], q.spared-cap(s.buf)
		}
		q.segs = append(q.segs, s)
	}
	last := &q.segs[len(q.segs)-1]
	need := min(len(last.buf)+n, combineFull)
	if need > cap(last.buf) { // append would grow it by less, and copy what is there more often
		size := max(need, min(2*cap(last.buf), combineFull))
		last.buf = append(make([]byte, 0, size), last.buf...)
	}
	return last
}

// add copies a post behind what waits; q.mu is held. It fills one buffer after the other to the
// last byte: half-full buffers would take more memory than the queue's limit, and those beyond the
// limit would have to be allocated anew for each burst.
func (q *postQueue) add(head, body []byte, now bool) {
	for n := len(head) + len(body); n > 0; {
		last := q.last(n)
		had := len(last.buf)
		for _, p := range []*[]byte{&head, &body} {
			k := min(len(*p), combineFull-len(last.buf))
			last.buf, *p = append(last.buf, (*p)[:k]...), (*p)[k:]
		}
		taken := len(last.buf) - had
		if now {
			last.now += taken
			q.now += taken
		}
		q.open = len(last.buf) < combineFull
		n -= taken
	}
}

// setAside copies a post that is Lazily, for which there is no room in line; q.mu is held.
func (q *postQueue) setAside(head, body []byte) {
	n := len(head) + len(body)
	last := len(q.lazy) - 1
	if last < 0 || len(q.lazy[last].buf)+n > combineFull {
		q.lazy, last = append(q.lazy, segment{lazy: true}), last+1
	}
	q.lazy[last].buf = append(append(q.lazy[last].buf, head...), body...)
	q.aside += n
}

// follow brings a part of what is aside into line, unless one is in line already: so those
// take turns with others. q.mu is held.
func (q *postQueue) follow() {
	if q.following || len(q.lazy) == 0 {
		return
	}
	next := q.lazy[0]
	q.lazy[0] = segment{}
	q.lazy = q.lazy[1:]
	n := len(next.buf)
	q.segs, q.open, q.following = append(q.segs, next), false, true
	q.posted, q.followed, q.aside = q.posted+int64(n), q.followed+int64(n), q.aside-n
	if q.watched > 0 {
		q.moved.Broadcast()
	}
}

// begin starts the flusher for a post with More. What is ready to run has its turn first, as it may
// be about to post, too. Where that takes long again and again, since all processors are busy,
// flushers begin at once for a while. q.mu is held.
func (q *postQueue) begin() {
	now := time.Now()
	if now.Before(q.hurries) {
		go q.flushFn()
		return
	}
	q.gathers, q.gathering = true, now
	go q.gatherFn()
}

func (q *postQueue) gather() {
	runtime.Gosched()
	q.mu.Lock()
	begins := q.gathers
	q.gathers = false
	if now := time.Now(); now.Sub(q.gathering) < gatherLate {
		q.late = 0
	} else if q.late++; begins && q.late >= gatherLates {
		q.hurries = now.Add(gatherPause)
	}
	q.mu.Unlock()
	if begins {
		q.flush()
	}
}

// endGather has the flusher begin now, if it has not begun; q.mu is held.
func (q *postQueue) endGather() {
	if q.gathers {
		q.gathers = false
		go q.flushFn()
	}
}

// writeGathered is endGather for a caller that can write what has been gathered itself, as far as
// the socket takes it at once; the error is the queue's. q.mu is held on entry, and released on
// return.
func (q *postQueue) writeGathered() error {
	defer q.mu.Unlock()
	if q.s.car.takesItsTime() {
		q.endGather()
		return nil
	}
	q.gathers = false
	q.writeBatch(NoWait())
	switch {
	case q.err != nil:
	case len(q.segs) > 0 || q.aside > 0:
		go q.flushFn()
	case q.held != nil:
		q.park()
	default:
		q.writing = false
	}
	return q.err
}

// flush is the writer until nothing waits, or the turn of a caller has come.
func (q *postQueue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.follow(); len(q.segs) > 0 && q.err == nil; q.follow() {
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
			continue
		}
		if q.writeBatch(context.Background()); q.err != nil {
			return
		}
	}
	if q.held != nil {
		q.park()
		return
	}
	q.writing = false
}

// writeBatch writes what waits before the next claim, until ctx ends; q.mu is held, but not during
// the write.
func (q *postQueue) writeBatch(ctx context.Context) {
	q.take()
	n, err := q.out(ctx)
	switch {
	case err == ErrPaused, IsNoWait(ctx) && isTimeout(err):
		q.putBack(n)
		err = nil
	case err != nil:
		err = opError("write", q.s.remote, err)
	}
	q.settle()
	q.delivered(n)
	if err != nil {
		q.fail(err)
	}
}

// out writes the batch; q.mu is held, except during the write. A callback that ends its goroutine
// ends the queue.
func (q *postQueue) out(ctx context.Context) (n int64, err error) {
	err = errExited
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		if err == errExited {
			q.exited()
		}
	}()
	return q.s.writePart(ctx, q.vec, q.frames)
}

// exited ends a queue whose writer's goroutine has ended; q.mu is held.
func (q *postQueue) exited() {
	err := opError("write", q.s.remote, errExited)
	q.settle()
	q.fail(err)
}

// take makes a batch of what waits before the next claim; q.mu is held.
func (q *postQueue) take() {
	k := 0
	q.vec, q.batch = q.vec[:0], q.batch[:0]
	for ; k < len(q.segs) && q.segs[k].claim == nil; k++ {
		q.vec, q.batch = append(q.vec, q.segs[k].buf), append(q.batch, q.segs[k])
		q.following = q.following && !q.segs[k].lazy
	}
	q.drop(k)
}

// drop takes k segments off the front; q.mu is held.
func (q *postQueue) drop(k int) {
	if len(q.segs) > manySegments { // to move all the others up each time would take too long
		clear(q.segs[:k])
		q.segs = q.segs[k:] // append finds them a new place
	} else {
		q.segs = slices.Delete(q.segs, 0, k)
	}
	if len(q.segs) == 0 {
		q.open = false
	}
}

// settle ends a batch, and keeps its buffers for the next burst; q.mu is held.
func (q *postQueue) settle() {
	for _, s := range q.batch {
		q.now -= s.now
		if size := cap(s.buf); !s.rest && size <= combineFull && q.spared+size <= q.limit {
			q.spares = append(q.spares, s.buf[:0])
			q.spared += size
		}
	}
	clear(q.batch)
	clear(q.vec)
}
