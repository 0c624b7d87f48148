// Package await waits until a descriptor is ready, a deadline passes, or it is told to stop. It
// knows no stream and no plug-in.
//
// A [Pair] is the two directions of one descriptor; both wait in the Go poller. What may happen
// before that, on Linux, is the [Policy]'s: a wait in a system call on the caller's own thread; for
// a reader also a nap in a flow, to let the messages of a flow gather, and to try again for the
// rest of something large. Each becomes a habit if the latest waits were such that it is worth it.
// For an answer nobody tries again and again.
package await

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// A NotWaitableError says why a descriptor cannot be waited on.
type NotWaitableError struct {
	FD  int
	Why string
}

// Error names the descriptor.
func (e *NotWaitableError) Error() string { return fmt.Sprintf("descriptor %d %s", e.FD, e.Why) }

// A Pair is how the reader and the writer of one descriptor wait.
type Pair struct {
	In    Reader
	Out   Writer
	watch watch
}

// New makes a Pair for a descriptor in non-blocking mode, which stays the caller's and must be
// closed after the Pair only. mayPoll says that p applies: for one that always sleeps, a duplicate
// of the descriptor is enough. sure says that the descriptor is known to be one that can be waited
// on; otherwise *NotWaitableError is an error. Where descriptors cannot be waited on New gives
// errors.ErrUnsupported.
func New(fd int, p *Policy, mayPoll, sure bool) (*Pair, error) {
	w, err := newWatch(fd, p, mayPoll && CanPoll, sure)
	if err != nil {
		return nil, err
	}
	pair := &Pair{watch: w}
	pair.In.use(fd, w, p)
	pair.Out.use(w, p, true)
	return pair, nil
}

func (p *Pair) side(writing bool) *direction {
	if writing {
		return p.watch.writing()
	}
	return p.watch.reading()
}

// Halt ends the wait of one direction, and those to come until Allow, with os.ErrDeadlineExceeded.
func (p *Pair) Halt(writing bool) { _ = p.side(writing).halt(true) }

// Allow permits waits again.
func (p *Pair) Allow(writing bool) { _ = p.side(writing).allow() } // closed: no more waits

// Prepare makes what sleeping in a direction needs, so that it cannot fail later for lack of a
// descriptor.
func (p *Pair) Prepare(writing bool) error { return p.watch.prepare(writing) }

// RestFirst is Prepare for a reader that most likely has nothing to read for a while: on Linux it
// needs no descriptor of its own until it has.
func (p *Pair) RestFirst() error { return p.watch.restFirst() }

// Connected waits until a connect that is in progress has ended, and returns its result.
func (p *Pair) Connected(ctx context.Context) error { return p.watch.connected(ctx) }

// RawConn gives others access to the descriptor, safe against Close.
func (p *Pair) RawConn() syscall.RawConn { return p.watch.rawConn() }

// Pending counts the bytes that the kernel holds for reading.
func (p *Pair) Pending() (n int, err error) {
	cerr := p.RawConn().Control(func(fd uintptr) { n, err = pending(int(fd)) })
	return n, errors.Join(cerr, err)
}

// Close ends all waits with os.ErrClosed, and waits for a try that is running.
func (p *Pair) Close() { p.watch.close() }

// Past is a deadline that has passed: setting it ends a wait at once.
var Past = time.Unix(1, 0)

// haltAt is the deadline that ends waits at once, or permits them.
func haltAt(halted bool) (t time.Time) {
	if halted {
		t = Past
	}
	return t
}
