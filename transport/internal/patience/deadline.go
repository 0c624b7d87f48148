package patience

import (
	"context"
	"sync"
	"time"
)

// A Deadline is one that may be moved, even while operations are in progress under it.
type Deadline struct {
	mu  sync.Mutex
	t   *time.Timer
	now *until
}

// Context is that of an operation that begins now.
func (d *Deadline) Context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now == nil {
		d.now = newUntil()
	}
	return d.now
}

// Set moves the deadline; the zero time means never.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.t != nil {
		d.t.Stop()
		d.t = nil
	}
	if d.now == nil || !d.now.move(t) {
		d.now = newUntil()
		d.now.move(t)
	}
	if t.IsZero() {
		return
	}
	switch left := time.Until(t); {
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

// An until is the context of all operations that begin until the deadline has passed and is then
// moved: the move begins a new one. Like every context it ends once, for good.
type until struct {
	done  chan struct{}
	mu    sync.Mutex
	at    time.Time // zero: without end
	over  bool
	funcs map[*func()]struct{}
}

func newUntil() *until { return &until{done: make(chan struct{})} }

// move moves the deadline, unless it has passed: then it ends, and move returns false. So an
// operation that has seen the deadline pass can wait for the end.
func (e *until) move(t time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.at.IsZero() && time.Until(e.at) <= 0 {
		e.end()
	}
	if e.over {
		return false
	}
	e.at = t
	return true
}

// deadline is that of now, which may still be moved; false: there is none.
func (e *until) deadline() (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at, !e.at.IsZero()
}

func (e *until) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end()
}

// end is expire; e.mu is held.
func (e *until) end() {
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
func (e *until) AfterFunc(f func()) (stop func() bool) {
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

// Deadline says that there is none, for that of a context never moves: a context made of this one
// must not rely on it. See TimeLeft.
func (e *until) Deadline() (time.Time, bool) { return time.Time{}, false }

func (e *until) Value(any) any         { return nil }
func (e *until) Done() <-chan struct{} { return e.done }

func (e *until) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return context.DeadlineExceeded
	}
	return nil
}
