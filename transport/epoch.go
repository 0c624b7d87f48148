package transport

import (
	"context"
	"sync"
	"time"
)

// A timer is a deadline that may be moved, even while operations are in progress under it.
type timer struct {
	mu  sync.Mutex
	t   *time.Timer
	now *epoch
}

// epoch is the context of an operation that begins now.
func (d *timer) epoch() *epoch {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil {
		d.now = newEpoch()
	}
	return d.now
}

func (d *timer) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.t != nil {
		d.t.Stop()
		d.t = nil
	}
	if d.now == nil || !d.now.move(t) {
		d.now = newEpoch()
		d.now.move(t)
	}
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		d.now.expire()
	default:
		var self *time.Timer
		self = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.t == self {
				d.now.expire()
			}
		})
		d.t = self
	}
}

// An epoch is the context of all operations that begin until the deadline has passed and is then moved: the move begins a new epoch. Like
// every context it ends once, for good.
type epoch struct {
	done  chan struct{}
	mu    sync.Mutex
	until time.Time // zero: without end
	over  bool
	funcs map[*func()]struct{}
}

func newEpoch() *epoch { return &epoch{done: make(chan struct{})} }

// move moves the deadline, unless it has passed: then the epoch ends, and move returns false. So an operation that has seen the deadline
// pass can wait for the end.
func (e *epoch) move(t time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.until.IsZero() && time.Until(e.until) <= 0 {
		e.end()
	}
	if e.over {
		return false
	}
	e.until = t
	return true
}

// deadline is that of now, which may still be moved; false: there is none.
func (e *epoch) deadline() (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.until, !e.until.IsZero()
}

func (e *epoch) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end()
}

// end is expire; e.mu is held.
func (e *epoch) end() {
	if e.over {
		return
	}
	e.over = true
	close(e.done)
	for f := range e.funcs {
		go (*f)()
	}
	e.funcs = nil
}

// AfterFunc makes context.AfterFunc cheap.
func (e *epoch) AfterFunc(f func()) (stop func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		go f()
		return func() bool { return false }
	}
	if e.funcs == nil {
		e.funcs = map[*func()]struct{}{}
	}
	e.funcs[&f] = struct{}{}
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		_, ok := e.funcs[&f]
		delete(e.funcs, &f)
		return ok
	}
}

// Deadline says that there is none, for that of a context never moves: a context made of this one must not rely on it. See timeLeft.
func (e *epoch) Deadline() (time.Time, bool) { return time.Time{}, false }

func (e *epoch) Value(any) any         { return nil }
func (e *epoch) Done() <-chan struct{} { return e.done }

func (e *epoch) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return context.DeadlineExceeded
	}
	return nil
}
