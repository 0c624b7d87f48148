package transport

import (
	"context"
	"os"
	"slices"
)

// Hold stops the queue at a byte boundary, for a hand-off: nothing goes out any more, and new posts
// wait, until Unhold or End. What was posted before waits too, and Held returns it. A WritevQueue
// that is writing its own buffers at that moment ends with ErrPaused. When ctx ends before the
// writer has stopped, the queue goes on, and the error is ctx's.
func (q *Queue) Hold(ctx context.Context) error {
	q.mu.Lock()
	switch {
	case q.err != nil:
		defer q.mu.Unlock()
		return q.err
	case q.held != nil || q.parked: // staged
		q.mu.Unlock()
		return opError("hold", q.s.remote, ErrPaused)
	}
	q.held = make(chan struct{})
	q.mu.Unlock()
	err := opError("hold", q.s.remote, q.s.pauseWrite(ctx))
	if err == nil {
		err = q.await(ctx, "hold", func() bool { return q.err == nil && (!q.writing || q.parked) })
	}
	if err != nil {
		q.Unhold()
	}
	return err
}

// resumed waits for the end of a Hold; q.mu is held, but not while it waits.
func (q *Queue) resumed(ctx context.Context) error {
	for q.held != nil && q.err == nil {
		if IsNoWait(ctx) {
			return os.ErrDeadlineExceeded
		}
		held := q.held
		q.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
		}
		q.mu.Lock()
		if err := ended(ctx); err != nil {
			return err
		}
	}
	return nil
}

// park is called by the writer, which then writes no more until the Hold ends; q.mu is held.
func (q *Queue) park() {
	q.parked = true
	q.moved.Broadcast()
}

// putBack returns to the queue what is left of the batch, of which n bytes are out; q.mu is held.
// The segments that are out stay in the batch.
func (q *Queue) putBack(n int64) {
	out := 0
	for out < len(q.batch) && n >= int64(len(q.batch[out].buf)) {
		n -= int64(len(q.batch[out].buf))
		out++
	}
	if out == len(q.batch) {
		return
	}
	rest := slices.Clone(q.batch[out:])
	first := &rest[0]
	first.buf, first.rest = first.buf[n:], n > 0 || first.rest
	q.segs = slices.Insert(q.segs, 0, rest...)
	clear(q.batch[out:])
	q.batch = q.batch[:out]
}

// Held returns a copy of the bytes that are still to be sent, the rest of what is partly out first.
// The queue must be held. Calls that wait for their turn, large posts and those of WritevQueue, are
// not among them: these fail by End, or go on after Unhold.
func (q *Queue) Held() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	var b []byte
	for _, s := range slices.Concat(q.segs, q.lazy) {
		b = append(b, s.buf...)
	}
	return b
}

// Unhold lets a held or staged queue go on.
func (q *Queue) Unhold() {
	// This waits for a pause of the reading direction that is in progress; posts must not, too.
	q.s.resumeWrite()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held != nil {
		close(q.held)
		q.held = nil
	}
	if !q.parked {
		return
	}
	q.parked = false
	if q.writing = (len(q.segs) > 0 || q.aside > 0) && q.err == nil; q.writing {
		go q.flushFn()
	}
}

// End makes err the result of every call that waits and of every later post: what the queue holds
// goes out elsewhere, or never. Only a call of which Held has returned what is not out succeeds.
func (q *Queue) End(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.elsewhere = q.elsewhere || q.err == nil
	q.fail(err)
	if q.held != nil {
		close(q.held)
		q.held = nil
	}
}

// Stage puts held, which another process still had to send, into a new queue: nothing goes out
// until Unhold, but posts are taken, and go out after held. held is copied. Stage waits only for a
// write that is in progress on the stream, until ctx ends. ErrPaused if the queue is held or staged
// already, net.ErrClosed for a stream that is closed, syscall.EMFILE if there is no descriptor for
// the writer to wait with; after an error the queue is as it was.
func (q *Queue) Stage(ctx context.Context, held []byte) error {
	err := q.s.pauseWrite(ctx)
	if err == nil && len(held) > 0 { // the writer may have to wait for room
		if err = q.s.car.prepare(true); err != nil {
			q.s.resumeWrite()
		}
	}
	if err != nil {
		return opError("stage", q.s.remote, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		q.s.resumeWrite()
		return q.err
	case q.writing:
		q.s.resumeWrite()
		return opError("stage", q.s.remote, ErrBusy)
	}
	if len(held) > 0 {
		q.segs = append(q.segs, segment{buf: slices.Clone(held)})
		q.posted += int64(len(held))
	}
	q.writing, q.parked, q.held = true, true, nil
	return nil
}
