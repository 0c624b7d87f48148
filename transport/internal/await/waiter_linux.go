package await

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A Waiter waits for a descriptor with deadlines of its own, for code that has no context. One
// Accept and one Write may be in flight at the same time; deadlines may be set meanwhile. Each call
// makes one try at least, even if its deadline has passed: so a deadline of now is a single try.
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

// Accept calls try whenever something may have come, until try is done: it is for what does not
// come in a flow. The error is os.ErrDeadlineExceeded or os.ErrClosed.
func (w *Waiter) Accept(try func() bool) error {
	w.accept = try
	err := w.pair.In.Wait(w.reads.Context(), w.tryAccept)
	if err == context.DeadlineExceeded {
		err = w.pair.In.Wait(patience.NoWait(), w.tryAccept)
	}
	w.accept = nil
	return w.failed(err)
}

// Write calls try whenever there may be room, until try is done; its errors are those of Accept.
func (w *Waiter) Write(try func() bool) error {
	err := w.pair.Out.Do(w.writes.Context(), try)
	if err == context.DeadlineExceeded {
		err = w.pair.Out.Do(patience.NoWait(), try)
	}
	return w.failed(err)
}

// SetReadDeadline sets the time at which an Accept ends; the zero time means never.
func (w *Waiter) SetReadDeadline(t time.Time) error { return w.set(&w.reads, t) }

// SetWriteDeadline is the same for a Write.
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
