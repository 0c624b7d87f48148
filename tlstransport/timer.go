package tlstransport

import (
	"sync"
	"time"
)

// A timer is the deadline of one direction. It costs nothing where none is set.
type timer struct {
	set func(time.Time) error

	mu     sync.Mutex
	dirty  bool // a deadline is set
	kicked bool // the call in flight is to end
}

// use names what sets the deadline; end may be called before and beside it.
func (t *timer) use(set func(time.Time) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set = set
}

// fresh is called when a call begins: what was to end the one before does not end this one.
func (t *timer) fresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kicked = false
}

// arm is called before a wait, which is over at once where end was called meanwhile.
func (t *timer) arm(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kicked {
		until = past()
	}
	if t.dirty || !until.IsZero() {
		_ = t.set(until) // fails on a closed file only, and then the wait does too
		t.dirty = !until.IsZero()
	}
}

// end ends the call in flight, whether it waits already or is about to.
func (t *timer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kicked = true
	if t.set != nil {
		_ = t.set(past())
		t.dirty = true
	}
}
