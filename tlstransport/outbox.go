package tlstransport

import (
	"errors"
	"os"
	"sync"
	"time"
)

// An outbox holds what is sealed and not on the wire yet. Whoever seals puts records in, in any goroutine; the one Write in flight waits
// until they are out. What is left when its time is over has been counted as written, so it goes out in the background, until the next
// Write takes over.
type outbox struct {
	wire *wire

	mu   sync.Mutex
	buf  []byte
	pos  int   // buf[:pos] is out
	err  error // nothing goes out any more
	busy bool  // a Write is in flight: it sends all that is here

	flushed  chan struct{} // closed when the background has ended; nil: there is none, or it is about to end
	stopping bool

	ready func() bool

	large *[]byte    // the large buffer, from pool, that buf is in at the moment; nil: buf is in our own, small one
	small []byte     // our own, while large is in use
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

// try writes what goes without waiting; o.mu is held. It reports whether nothing is left, or nothing can go out any more.
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
	if cap(o.buf) > 2*outboxKept { // of another process, or of answers that piled up
		o.buf = nil
	}
	return true
}

const (
	sealing    = 1 << 10                // for the headers and tags of records, and small ones beside
	outboxKept = maxPlaintext + sealing // what a connection keeps of its outbox, but for what append makes of it
)

// enlarge borrows a large buffer until all is out, so that a connection keeps a small one only; o.mu is held.
func (o *outbox) enlarge() {
	large, ok := o.pool.Get().(*[]byte)
	if !ok {
		large = new([]byte)
		*large = make([]byte, 0, mostAtOnce+maxPlaintext+sealing)
	}
	buf := append((*large)[:0], o.buf...)
	o.buf, o.small, o.large = buf, o.buf[:0], large
}

// begin takes over for a Write; end must be called.
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

// end leaves to the background what is left.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = false
	o.settle()
}

// settle writes what goes without waiting, and leaves the rest to the background; a Write in flight does it all. o.mu is held.
func (o *outbox) settle() {
	if !o.busy && !o.try() {
		o.resume()
	}
}

// flush waits until nothing is left. os.ErrDeadlineExceeded says that something is.
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

// resume starts the background; o.mu is held.
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

// failed ends what goes out where it cannot be waited for. A time-out is an Interrupt, meant for the calls in flight, or stop.
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

// rests ends the background where it is to end, or nothing is left for it: what comes from now on is for another one.
func (o *outbox) rests() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stopping && o.err == nil && o.pos < len(o.buf) {
		return false
	}
	o.flushed = nil
	return true
}

// stop ends the background; what is left stays.
func (o *outbox) stop() {
	o.mu.Lock()
	done := o.flushed
	o.stopping = true
	o.mu.Unlock()
	if done == nil {
		return
	}
	again := time.NewTicker(time.Millisecond) // an end that came just before the wait is lost
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
