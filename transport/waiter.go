package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Polling is a limit of adaptive polling, and what the Waiters that share it know of each other: see WithPolling. With the zero value no
// Waiter polls. A Polling must not be copied.
type Polling struct {
	made   sync.Once
	poller *poller
}

// NewPolling returns a Polling with that limit; 0 turns polling off, and a limit above MaxPolling counts as MaxPolling.
func NewPolling(limit time.Duration) *Polling {
	return &Polling{poller: newPoller(min(max(limit, 0), MaxPolling))}
}

func (p *Polling) shared() *poller {
	p.made.Do(func() {
		if p.poller == nil {
			p.poller = newPoller(0)
		}
	})
	return p.poller
}

// A Waiter waits for a descriptor as the SDK does for plug-ins without FullImpl: see WithPolling. It is for plug-ins with FullImpl that
// speak over a socket of their own, and so have to wait inside their callbacks, such as that of package tlstransport.
//
// One Read or Accept and one Write or Connected may be in flight at the same time; deadlines may be set meanwhile. Each call makes one try
// at least, even if its deadline has passed: so a timeout of 0 is a deadline of now. A call may end up to a millisecond after its deadline,
// or up to four times the limit of polling. To end a call at once, as Callbacks.Interrupt has to, set a deadline that has passed.
//
// Tries run on the goroutine of the call. A try must not wait, nor use the Waiter, and may return false only after EAGAIN: waiting is
// edge-triggered, so bytes that a try leaves unread do not wake the call.
type Waiter struct {
	watch    watch
	in       incoming
	out      outgoing
	read     func() (n int, done bool) // of the Read in flight
	n        int
	arriving attempt // of the Read or Accept in flight
	leaving  attempt // of the Write in flight

	closing sync.Once
	closed  atomic.Bool

	mu                    sync.Mutex
	readUntil, writeUntil time.Time // zero: without end

	readable, writable, acceptable func(uintptr) bool // made once
	tryRead                        func() bool
}

// An attempt is what a call tries, whether it has been tried, and whether that succeeded.
type attempt struct {
	f    func() bool
	made bool
	done bool
	look func(uintptr) // makes a try outside of the wait
}

func (a *attempt) try() bool {
	a.made = true
	a.done = a.f()
	return a.done
}

// Waiter returns a Waiter for a descriptor in non-blocking mode, which stays the caller's, to be closed only after the Waiter. A descriptor
// that cannot be waited on, such as that of a file, is ErrContract, and one that is not open EBADF; on Windows every one is
// errors.ErrUnsupported. On Linux the Waiter of a socket has no descriptor of its own before it sleeps; elsewhere it has a duplicate.
func (p *Polling) Waiter(fd int) (*Waiter, error) {
	watch, err := newWatch(fd, canPoll, false)
	if errors.Is(err, ErrContract) {
		return nil, fmt.Errorf("a Waiter of descriptor %d: %w: it cannot be waited on", fd, ErrContract)
	}
	if err != nil {
		return nil, err
	}
	w := &Waiter{watch: watch}
	w.in.use(fd, watch, p.shared())
	w.out.use(watch, p.shared())
	w.in.tries, w.out.tries = &w.arriving, &w.leaving
	w.arriving.look = func(uintptr) { w.arriving.try() }
	w.leaving.look = func(uintptr) { w.leaving.try() }
	w.readable, w.writable = w.in.ready, w.out.ready
	w.tryRead = func() (done bool) {
		w.n, done = w.read()
		w.in.took(w.n)
		return done
	}
	w.acceptable = func(uintptr) bool { return w.arriving.try() || watch.look(false) && w.arriving.try() }
	return w, nil
}

// Read calls try whenever something may have come, until try is done; n is how many bytes it has read. The error is os.ErrDeadlineExceeded
// or os.ErrClosed; a lack of descriptors or memory is no error, but waited out.
func (w *Waiter) Read(try func() (n int, done bool)) error {
	w.read, w.n = try, 0
	w.in.begin(false)
	err := w.wait(w.watch.reading(), &w.readUntil, w.readable, &w.arriving, w.tryRead)
	w.in.end(w.n)
	w.read = nil
	return err
}

// Accept calls try as Read does, for what does not come in a flow: connections, say. It ends with the read deadline; its errors are those
// of Read. On Linux what comes between two Accepts wakes no thread.
func (w *Waiter) Accept(try func() bool) error {
	err := w.wait(w.watch.reading(), &w.readUntil, w.acceptable, &w.arriving, try)
	w.watch.lookAway(false)
	return err
}

// Write calls try whenever there may be room, until try is done. It ends with the write deadline; its errors are those of Read. On Linux
// room that comes between two Writes wakes no thread.
func (w *Waiter) Write(try func() bool) error {
	w.out.begin(false)
	err := w.wait(w.watch.writing(), &w.writeUntil, w.writable, &w.leaving, try)
	w.out.end()
	return err
}

func (w *Waiter) wait(d *direction, until *time.Time, ready func(uintptr) bool, a *attempt, try func() bool) error {
	a.f, a.made, a.done = try, false, false
	defer func() { a.f = nil }()
	if !w.over(until) {
		err := d.park(ready)
		if a.made || !errors.Is(err, os.ErrDeadlineExceeded) {
			return w.failed(err)
		}
	}
	err := w.watch.rawConn().Control(a.look)
	if err == nil && !a.done {
		err = os.ErrDeadlineExceeded
	}
	return w.failed(err)
}

// over reports whether a deadline has passed.
func (w *Waiter) over(until *time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !until.IsZero() && time.Until(*until) <= 0
}

// Took tells the Waiter of n bytes that have been read without Read: to judge the pace at which bytes come, the Waiter has to know of all
// of them. Only the reader may call it.
func (w *Waiter) Took(n int) { w.in.end(n) }

// Wrote tells the Waiter of n bytes that have been written, by Write or without it: an answer is likely to follow. It may be called at any
// time.
func (w *Waiter) Wrote(n int) {
	if canPoll && n > 0 {
		w.in.wrote(int64(n))
	}
}

// Connected waits for the end of a connect(2) that is in progress, and returns its result. It ends with the write deadline. A lack of
// descriptors is an error of Connected.
func (w *Waiter) Connected() error {
	ctx := context.Background()
	if w.over(&w.writeUntil) {
		ctx = NoWait()
	}
	return w.failed(w.watch.connected(ctx))
}

// SetReadDeadline sets the time at which a Read or Accept, in flight or to come, ends; the zero time means never. It does not wait.
// os.ErrClosed after Close.
func (w *Waiter) SetReadDeadline(t time.Time) error {
	return w.setDeadline(w.watch.reading(), &w.readUntil, t)
}

// SetWriteDeadline is the same for a Write or Connected, with the same error.
func (w *Waiter) SetWriteDeadline(t time.Time) error {
	return w.setDeadline(w.watch.writing(), &w.writeUntil, t)
}

func (w *Waiter) setDeadline(d *direction, until *time.Time, t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	*until = t
	return w.failed(d.deadline(t))
}

// Close ends all waits, and waits for a try that is running.
func (w *Waiter) Close() error {
	w.closing.Do(func() {
		w.closed.Store(true)
		w.watch.close()
	})
	return nil
}

func (w *Waiter) failed(err error) error {
	if err != nil && w.closed.Load() {
		return os.ErrClosed
	}
	return err
}
