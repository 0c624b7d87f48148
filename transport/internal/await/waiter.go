package await

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A Waiter waits for a descriptor with deadlines of its own, for code that has no context. One Read
// or Accept and one Write or Connected may be in flight at the same time; deadlines may be set
// meanwhile. Each call makes one try at least, even if its deadline has passed.
type Waiter struct {
	pair          *Pair
	reads, writes patience.Deadline

	accept    func() bool        // of the Accept in flight
	tryAccept func(uintptr) bool // made once

	closing sync.Once
	closed  atomic.Bool
}

// NewWaiter makes a Waiter; see New.
func NewWaiter(fd int, p *Policy) (*Waiter, error) {
	pair, err := New(fd, p, true, false)
	if err != nil {
		return nil, err
	}
	w := &Waiter{pair: pair}
	w.tryAccept = func(uintptr) bool { return w.accept() }
	return w, nil
}

// Read calls try whenever something may have come, until try is done; n is how many bytes it has
// read. The error is os.ErrDeadlineExceeded or os.ErrClosed.
func (w *Waiter) Read(try func() (n int, done bool)) error {
	err := w.pair.In.Do(w.reads.Context(), try)
	if err == context.DeadlineExceeded {
		err = w.pair.In.Do(patience.NoWait(), try)
	}
	return w.failed(err)
}

// Accept calls try as Read does, for what does not come in a flow.
func (w *Waiter) Accept(try func() bool) error {
	w.accept = try
	err := w.pair.In.Wait(w.reads.Context(), w.tryAccept)
	if err == context.DeadlineExceeded {
		err = w.pair.In.Wait(patience.NoWait(), w.tryAccept)
	}
	w.accept = nil
	return w.failed(err)
}

// Write calls try whenever there may be room, until try is done.
func (w *Waiter) Write(try func() bool) error {
	err := w.pair.Out.Do(w.writes.Context(), try)
	if err == context.DeadlineExceeded {
		err = w.pair.Out.Do(patience.NoWait(), try)
	}
	return w.failed(err)
}

// Took tells the Waiter of n bytes that have been read without Read.
func (w *Waiter) Took(n int) { w.pair.In.end(n) }

// Wrote tells the Waiter of n bytes that have been written. It may be called at any time.
func (w *Waiter) Wrote(n int) {
	if CanPoll && n > 0 {
		w.pair.In.Wrote()
	}
}

// Connected waits for the end of a connect(2) that is in progress, and returns its result.
func (w *Waiter) Connected() error {
	ctx := w.writes.Context()
	err := w.pair.Connected(ctx)
	if ctx.Err() != nil && err == ctx.Err() {
		err = w.pair.Connected(patience.NoWait())
	}
	return w.failed(err)
}

// SetReadDeadline sets the time at which a Read or Accept ends; the zero time means never.
func (w *Waiter) SetReadDeadline(t time.Time) error { return w.set(&w.reads, t) }

// SetWriteDeadline is the same for a Write or Connected.
func (w *Waiter) SetWriteDeadline(t time.Time) error { return w.set(&w.writes, t) }

func (w *Waiter) set(d *patience.Deadline, t time.Time) error {
	if w.closed.Load() {
		return os.ErrClosed
	}
	d.Set(t)
	return nil
}

// Close ends all waits, and waits for a try that is running.
func (w *Waiter) Close() error {
	w.closing.Do(func() {
		w.closed.Store(true)
		w.pair.Close()
		w.reads.Set(time.Time{}) // no timer is left
		w.writes.Set(time.Time{})
	})
	return nil
}

func (w *Waiter) failed(err error) error {
	if err != nil && w.closed.Load() {
		return os.ErrClosed
	}
	return err
}
