package transport

import (
	"context"
	"os"
	"slices"
)

// Hold is that of a queue.Queue.
func (q *postQueue) Hold(ctx context.Context) error {
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
func (q *postQueue) resumed(ctx context.Context) error {
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
func (q *postQueue) park() {
	q.parked = true
	q.moved.Broadcast()
}

// putBack returns to the queue what is left of the batch, of which n bytes are out; q.mu is held.
// The segments that are out stay in the batch.
func (q *postQueue) putBack(n int64) {
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

// Held is that of a queue.Queue.
func (q *postQueue) Held() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	var b []byte
	for _, s := range slices.Concat(q.segs, q.lazy) {
		b = append(b, s.buf...)
	}
	return b
}

// Unhold is that of a queue.Queue.
func (q *postQueue) Unhold() {
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

// End is that of a queue.Queue.
func (q *postQueue) End(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.elsewhere = q.elsewhere || q.err == nil
	q.fail(err)
	if q.held != nil {
		close(q.held)
		q.held = nil
	}
}

// Stage is that of a queue.Queue.
func (q *postQueue) Stage(ctx context.Context, held []byte) error {
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
