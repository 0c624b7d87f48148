package transport

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// A Polling is a limit of adaptive polling, and what the Waiters that share it know of each other: see WithPolling.
type Polling struct{ poller *poller }

// NewPolling returns a Polling with that limit; 0 is none, and more than MaxPolling is that.
func NewPolling(limit time.Duration) *Polling {
	return &Polling{newPoller(min(max(limit, 0), MaxPolling))}
}

// A Waiter waits for a descriptor as the SDK does for plug-ins without FullImpl: see WithPolling. It is for plug-ins with FullImpl that speak
// over a socket of their own, and so have to wait inside their callbacks; package tlstransport is one.
//
// One of Read, Accept and Connected, and one Write, may be in flight at the same time; deadlines may be set beside them. Each call makes one
// try at least, also where its deadline has passed: so a timeout of 0 is a deadline of now.
type Waiter struct {
	watch    watch
	in       incoming
	out      outgoing
	read     func() (n int, done bool) // of the Read in flight
	n        int
	arriving attempt // of the Read or Accept in flight
	leaving  attempt // of the Write in flight
	closed   atomic.Bool

	readable, writable, acceptable func(uintptr) bool // made once
	tryRead                        func() bool
}

// An attempt is what is tried, and whether it has been.
type attempt struct {
	try  func() bool
	made bool
}

func (a *attempt) make() bool {
	a.made = true
	return a.try()
}

// Waiter returns a Waiter for a descriptor in non-blocking mode, which stays the caller's and is closed after the Waiter only. What cannot
// be waited on is ErrContract, and on Windows everything errors.ErrUnsupported. On Linux the Waiter has no descriptor of its own before it
// sleeps; elsewhere it has a duplicate.
func (p *Polling) Waiter(fd int) (*Waiter, error) {
	watch, err := newWatch(fd, canPoll, false)
	if err != nil {
		return nil, err
	}
	w := &Waiter{watch: watch}
	w.in.use(fd, watch, p.poller)
	w.out.use(watch, p.poller)
	w.in.try, w.out.try = w.arriving.make, w.leaving.make
	w.readable, w.writable = w.in.ready, w.out.ready
	w.tryRead = func() (done bool) { w.n, done = w.read(); return done }
	w.acceptable = func(uintptr) bool { return w.arriving.make() }
	return w, nil
}

// Read calls try whenever something may have come, until it is done; it has read n bytes then. A try must not wait. The error is
// os.ErrDeadlineExceeded or os.ErrClosed, or tells of a want of memory; a want of descriptors is waited for.
func (w *Waiter) Read(try func() (n int, done bool)) error {
	w.read, w.n = try, 0
	w.in.begin(false)
	err := w.wait(w.watch.reading(), w.readable, &w.arriving, w.tryRead)
	w.in.end(w.n)
	return err
}

// Accept calls try as Read does, for what does not come in a flow: connections.
func (w *Waiter) Accept(try func() bool) error {
	return w.wait(w.watch.reading(), w.acceptable, &w.arriving, try)
}

// Write calls try whenever there may be room, as Read.
func (w *Waiter) Write(try func() bool) error {
	w.out.begin(false)
	err := w.wait(w.watch.writing(), w.writable, &w.leaving, try)
	w.out.end()
	return err
}

func (w *Waiter) wait(d *direction, ready func(uintptr) bool, a *attempt, try func() bool) error {
	a.try, a.made = try, false
	err := d.park(ready)
	if err != nil && !a.made && errors.Is(err, os.ErrDeadlineExceeded) {
		done := false
		if e := w.watch.rawConn().Control(func(uintptr) { done = a.try() }); e != nil || done {
			err = e
		}
	}
	return w.failed(err)
}

// Wrote tells of n bytes that have been written, whether Write was needed or not: an answer is likely to follow.
func (w *Waiter) Wrote(n int) {
	if canPoll {
		w.in.spin.written(int64(n))
	}
}

// Connected waits for the end of connect(2), which is in progress, and returns how it has ended. It ends with ctx, and with both deadlines.
func (w *Waiter) Connected(ctx context.Context) error { return w.failed(w.watch.connected(ctx)) }

// SetReadDeadline ends a Read or Accept, in flight or to come, at a time; zero: without end.
func (w *Waiter) SetReadDeadline(t time.Time) error { return w.failed(w.watch.reading().deadline(t)) }

// SetWriteDeadline is the same for a Write.
func (w *Waiter) SetWriteDeadline(t time.Time) error { return w.failed(w.watch.writing().deadline(t)) }

// Close ends whatever waits, and waits for a try that is running.
func (w *Waiter) Close() error {
	if !w.closed.Swap(true) {
		w.watch.close()
	}
	return nil
}

func (w *Waiter) failed(err error) error {
	if err != nil && w.closed.Load() {
		return os.ErrClosed
	}
	return err
}
