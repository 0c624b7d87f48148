package tlstransport

import (
	"sync"
	"time"
)

// A timer is the deadline of one direction. It makes no call while no deadline is set.
type timer struct {
	set func(time.Time) error

	mu     sync.Mutex
	dirty  bool // a deadline is set
	kicked bool // the call in flight must end
}

// use gives the function that sets the deadline; end may be called before that, or at the same
// time.
func (t *timer) use(set func(time.Time) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set = set
}

// fresh is called when a call begins: an end that was meant for the previous call does not end this
// one.
func (t *timer) fresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kicked = false
}

// arm is called before a wait; if end has been called since fresh, the wait is over at once.
func (t *timer) arm(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kicked {
		until = past()
	}
	if t.dirty || !until.IsZero() {
		_ = t.set(until) // fails only on a closed file, on which the wait fails too
		t.dirty = !until.IsZero()
	}
}

// end ends the call in flight, whether it is waiting already or about to wait.
func (t *timer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kicked = true
	if t.set != nil {
		_ = t.set(past())
		t.dirty = true
	}
}
