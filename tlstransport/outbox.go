package tlstransport

import (
	"errors"
	"os"
	"sync"
	"time"
)

// An outbox holds records that are sealed and not on the wire yet. Any goroutine may seal records
// into it; the one Write in flight waits until they are sent. Records that are left when that
// Write's time is over have been counted as written, so a background goroutine sends them, until
// the next Write takes over.
type outbox struct {
	wire *wire

	mu   sync.Mutex
	buf  []byte
	pos  int   // buf[:pos] has been sent
	err  error // nothing can be sent any more
	busy bool  // a Write is in flight, which sends everything in buf

	// closed when the background goroutine has ended; nil: there is none, or it is about to end
	flushed  chan struct{}
	stopping bool

	ready func() bool

	large *[]byte    // the large buffer from pool that buf uses now; nil: buf is our own, small buffer
	small []byte     // our own buffer, while large is in use
	pool  *sync.Pool // of *[]byte
}

func (o *outbox) open(w *wire, pool *sync.Pool) {
	o.wire, o.pool = w, pool
	o.ready = func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.try()
	}
}

// try writes as much as it can without waiting; o.mu is held. It reports whether nothing is left,
// or nothing can be sent any more.
func (o *outbox) try() bool {
	for o.err == nil && o.pos < len(o.buf) {
		n, ok, err := o.wire.tryWrite(o.buf[o.pos:])
		o.pos += n
		if err != nil {
			o.err = err
		} else if !ok {
			return false
		}
	}
	o.buf, o.pos = o.buf[:0], 0
	if o.busy {
		return true
	}
	if o.large != nil {
		*o.large = o.buf
		o.pool.Put(o.large)
		o.buf, o.small, o.large = o.small, nil, nil
	}
	if cap(o.buf) > 2*outboxKept { // buf came with an imported session, or held many answers
		o.buf = nil
	}
	return true
}

const (
	sealing    = 1 << 10                // room for headers and tags, and for small records in between
	outboxKept = maxPlaintext + sealing // how much buffer a connection keeps, to which append may add
)

// enlarge borrows a large buffer until everything is sent, so that a connection keeps only a small
// one; o.mu is held.
func (o *outbox) enlarge() {
	large, ok := o.pool.Get().(*[]byte)
	if !ok {
		large = new([]byte)
		*large = make([]byte, 0, mostAtOnce+maxPlaintext+sealing)
	}
	buf := append((*large)[:0], o.buf...)
	o.buf, o.small, o.large = buf, o.buf[:0], large
}

// begin takes over from the background goroutine for a Write; end must be called.
func (o *outbox) begin() {
	o.mu.Lock()
	for o.flushed != nil {
		o.mu.Unlock()
		o.stop()
		o.mu.Lock()
	}
	o.busy = true
	o.mu.Unlock()
	o.wire.out.fresh()
}

// end leaves the remaining records to the background goroutine.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = false
	o.settle()
}

// settle writes as much as it can without waiting, and leaves the rest to the background goroutine.
// If a Write is in flight, settle leaves everything to that. o.mu is held.
func (o *outbox) settle() {
	if !o.busy && !o.try() {
		o.resume()
	}
}

// flush waits until nothing is left. It returns os.ErrDeadlineExceeded if its time ends before.
func (o *outbox) flush(d deadline) error {
	o.mu.Lock()
	done, err := o.try(), o.err
	o.mu.Unlock()
	if err != nil || done {
		return err
	}
	if d.once {
		return os.ErrDeadlineExceeded
	}
	if err := o.wire.awaitWrite(o.ready, d); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// resume starts the background goroutine if there is something to send; o.mu is held.
func (o *outbox) resume() {
	if o.flushed != nil || o.err != nil || o.pos == len(o.buf) {
		return
	}
	done := make(chan struct{})
	o.flushed, o.stopping = done, false
	go func() {
		defer close(done)
		for {
			o.wire.out.fresh()
			if o.rests() {
				return
			}
			if err := o.wire.awaitWrite(o.ready, deadline{}); err != nil {
				o.failed(err)
			}
		}
	}()
}

// failed records that waiting for the wire has failed, so that nothing more is sent. It ignores a
// time-out, which comes from stop, or from an Interrupt that is meant for the calls in flight.
func (o *outbox) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

// rests reports whether the background goroutine must end, because it was stopped or has nothing
// left to send. From then on resume may start another one.
func (o *outbox) rests() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopping && o.err == nil && o.pos < len(o.buf) {
		return false
	}
	o.flushed = nil
	return true
}

// stop ends the background goroutine; the remaining records stay in buf.
func (o *outbox) stop() {
	o.mu.Lock()
	done := o.flushed
	o.stopping = true
	o.mu.Unlock()
	if done == nil {
		return
	}
	// again and again, since an end just before the wait is lost
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		o.wire.out.end()
		select {
		case <-done:
			return
		case <-again.C:
		}
	}
}
