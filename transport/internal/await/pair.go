// Package await waits until a descriptor is ready, a deadline passes, or it is told to stop. It
// knows no stream and no plug-in.
//
// A [Pair] is the two directions of one descriptor, a [Waiter] the same with deadlines in place of
// contexts; both wait in the Go poller. What may happen before that, on Linux, is the [Policy]'s:
// polling, that is to try again and again; a wait in a system call on the caller's own thread; and
// to let the messages of a flow gather. A reader and a writer learn by the history of their waits
// which of these is worth it.
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
	pair.Out.use(w, p)
	return pair, nil
}

func (p *Pair) side(writing bool) *direction {
	if writing {
		return p.watch.writing()
	}
	return p.watch.reading()
}

// Halt ends the wait of one direction, and those to come until Allow, with os.ErrDeadlineExceeded.
func (p *Pair) Halt(writing bool) { _ = p.side(writing).deadline(Past) }

// Allow permits waits again.
func (p *Pair) Allow(writing bool) { _ = p.side(writing).allow() } // closed: no more waits

// Prepare makes what sleeping in a direction needs, so that it cannot fail later for lack of a
// descriptor.
func (p *Pair) Prepare(writing bool) error { return p.watch.prepare(writing) }

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
