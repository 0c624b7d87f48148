package await

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Waiter waits for a descriptor with deadlines of its own, for code that has no context. One Read
// or Accept and one Write or Connected may be in flight at the same time; deadlines may be set
// meanwhile. Each call makes one try at least, even if its deadline has passed.
type Waiter struct {
	pair     *Pair
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

// NewWaiter makes a Waiter; see New.
func NewWaiter(fd int, p *Policy) (*Waiter, error) {
	pair, err := New(fd, p, true, false)
	if err != nil {
		return nil, err
	}
	w := &Waiter{pair: pair}
	pair.In.try, pair.Out.try = w.arriving.try, w.leaving.try
	w.arriving.look = func(uintptr) { w.arriving.try() }
	w.leaving.look = func(uintptr) { w.leaving.try() }
	w.readable, w.writable = pair.In.ready, pair.Out.ready
	w.tryRead = func() (done bool) {
		w.n, done = w.read()
		pair.In.took(w.n)
		return done
	}
	w.acceptable = func(uintptr) bool {
		return w.arriving.try() || pair.watch.look(false) && w.arriving.try()
	}
	return w, nil
}

// Read calls try whenever something may have come, until try is done; n is how many bytes it has
// read. The error is os.ErrDeadlineExceeded or os.ErrClosed.
func (w *Waiter) Read(try func() (n int, done bool)) error {
	w.read, w.n = try, 0
	w.pair.In.begin(false)
	err := w.wait(w.pair.watch.reading(), &w.readUntil, w.readable, &w.arriving, w.tryRead)
	w.pair.In.end(w.n)
	w.read = nil
	return err
}

// Accept calls try as Read does, for what does not come in a flow.
func (w *Waiter) Accept(try func() bool) error {
	err := w.wait(w.pair.watch.reading(), &w.readUntil, w.acceptable, &w.arriving, try)
	w.pair.watch.lookAway(false)
	return err
}

// Write calls try whenever there may be room, until try is done.
func (w *Waiter) Write(try func() bool) error {
	w.pair.Out.begin(false)
	err := w.wait(w.pair.watch.writing(), &w.writeUntil, w.writable, &w.leaving, try)
	w.pair.Out.end()
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
	err := w.pair.watch.rawConn().Control(a.look)
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

// Took tells the Waiter of n bytes that have been read without Read.
func (w *Waiter) Took(n int) { w.pair.In.end(n) }

// Wrote tells the Waiter of n bytes that have been written. It may be called at any time.
func (w *Waiter) Wrote(n int) {
	if CanPoll && n > 0 {
		w.pair.In.Wrote(int64(n))
	}
}

// Connected waits for the end of a connect(2) that is in progress, and returns its result.
func (w *Waiter) Connected() error {
	ctx := context.Background()
	if w.over(&w.writeUntil) {
		ctx = NoWait()
	}
	return w.failed(w.pair.watch.connected(ctx))
}

// SetReadDeadline sets the time at which a Read or Accept ends; the zero time means never.
func (w *Waiter) SetReadDeadline(t time.Time) error {
	return w.setDeadline(w.pair.watch.reading(), &w.readUntil, t)
}

// SetWriteDeadline is the same for a Write or Connected.
func (w *Waiter) SetWriteDeadline(t time.Time) error {
	return w.setDeadline(w.pair.watch.writing(), &w.writeUntil, t)
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
		w.pair.watch.close()
	})
	return nil
}

func (w *Waiter) failed(err error) error {
	if err != nil && w.closed.Load() {
		return os.ErrClosed
	}
	return err
}
