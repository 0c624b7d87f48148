package tlstransport

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/cnode-go/cnode/transport"
)

// An outbox holds records that are sealed and not on the wire yet. Any goroutine may seal records
// into it; the one Write in flight waits until they are sent. Records that are left when that
// Write's time is over have been counted as written, so a background goroutine sends them, until
// the next Write takes over.
type outbox struct {
	below *transport.Stream

	mu   sync.Mutex
	buf  []byte
	pos  int   // buf[:pos] has been sent
	err  error // nothing can be sent any more
	busy bool  // a Write is in flight, which sends everything in buf

	// the background goroutine: closed when it has ended, and what ends it; nil: there is none, or it
	// is about to end
	flushed chan struct{}
	cancel  context.CancelFunc

	part [1][]byte // what is being sent

	large *[]byte    // the large buffer from pool that buf uses now; nil: buf is our own, small buffer
	small []byte     // our own buffer, while large is in use
	pool  *sync.Pool // of *[]byte
}

// try writes as much as it can without waiting; o.mu is held. It reports whether nothing is left,
// or nothing can be sent any more.
func (o *outbox) try() bool {
	for o.err == nil && o.pos < len(o.buf) {
		if !o.send(transport.NoWait(), false) {
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

// send writes some of what is left; false: its time was over before. o.mu is held, but if send may
// wait, not meanwhile.
func (o *outbox) send(ctx context.Context, waits bool) bool {
	o.part[0] = o.buf[o.pos:]
	if waits {
		o.mu.Unlock()
	}
	n, err := o.below.WriteSome(ctx, o.part[:]...)
	if waits {
		o.mu.Lock()
	}
	o.part[0] = nil
	o.pos += int(n)
	if err = bare(err); errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if err != nil && o.err == nil {
		o.err = err
		if errors.Is(err, transport.ErrUnresponsive) { // the buffer may still be read
			o.buf, o.large = nil, nil
		}
	}
	return true
}

// begin takes over from the background goroutine for a Write; end must be called.
func (o *outbox) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.flushed != nil {
		o.mu.Unlock()
		o.stop()
		o.mu.Lock()
	}
	o.busy = true
}

// end leaves the remaining records to the background goroutine.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = false
	o.settle()
}

// settle writes as much as it can without waiting, and leaves the rest to the background goroutine.
// If a Write is in flight, or that goroutine runs, settle leaves everything to it. o.mu is held.
func (o *outbox) settle() {
	if o.busy || o.flushed != nil || o.try() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	flushed := make(chan struct{})
	o.flushed, o.cancel = flushed, cancel
	go func() {
		defer close(flushed)
		defer cancel()
		o.mu.Lock()
		defer o.mu.Unlock()
		_ = o.finish(ctx) // in err, unless stop has ended it
		o.flushed = nil
	}()
}

// flush waits until nothing is left. It returns os.ErrDeadlineExceeded if its time ends before.
func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.finish(ctx)
}

// finish is flush; o.mu is held, but not while it waits.
func (o *outbox) finish(ctx context.Context) error {
	for !o.try() {
		if transport.IsNoWait(ctx) || !o.send(ctx, true) {
			return os.ErrDeadlineExceeded
		}
	}
	return o.err
}

// stop ends the background goroutine; the remaining records stay in buf.
func (o *outbox) stop() {
	o.mu.Lock()
	flushed := o.flushed
	if flushed != nil {
		o.cancel()
	}
	o.mu.Unlock()
	if flushed != nil {
		<-flushed
	}
}

// bare returns an error of the transport below without its operation and address, to which the one
// above adds its own, and os.ErrDeadlineExceeded for the end of a context.
func bare(err error) error {
	if e, ok := err.(*transport.OpError); ok {
		err = e.Err
	}
	if err != nil && err != os.ErrDeadlineExceeded &&
		(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return os.ErrDeadlineExceeded
	}
	return err
}
