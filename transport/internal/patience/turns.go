package patience

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Turns are a lock that callers get in the order in which they came, or until their contexts end.
// Without contention it costs two atomic operations. The zero value is ready to use.
type Turns struct {
	state   atomic.Int32 // free, taken or sought
	mu      sync.Mutex
	waiting []*waiter
	stalled bool // between Stall and Resume
}

// A waiter is a caller that waits for its turn.
type waiter struct {
	woken   chan struct{} // closed when its turn has come, or it is refused
	brief   bool          // it is refused once whoever has the turn has to wait
	refused bool
}

const (
	free   int32 = iota
	taken        // no caller waits
	sought       // taken, and callers may be in waiting
)

// Try takes the turn if it is free.
func (t *Turns) Try() bool { return t.state.CompareAndSwap(free, taken) }

// Take waits for the caller's turn, which the caller must then pass on. Under NoWait it fails if
// another caller has the turn.
func (t *Turns) Take(ctx context.Context) error {
	switch {
	case t.Try():
		return nil
	case IsNoWait(ctx):
		return os.ErrDeadlineExceeded
	}
	return t.queue(ctx, false)
}

// Join is Take where callers Stall before they wait for anything else than the turn: under NoWait
// it fails only if the caller that has the turn waits, and lets those pass that do not.
func (t *Turns) Join(ctx context.Context) error {
	if t.Try() {
		return nil
	}
	return t.queue(ctx, IsNoWait(ctx))
}

// Stall is called by who has the turn, and is about to wait: those under NoWait shall not wait for
// that. Resume is called after the wait.
func (t *Turns) Stall() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stalled = true
	t.waiting = slices.DeleteFunc(t.waiting, func(w *waiter) bool {
		if w.brief {
			w.refused = true
			close(w.woken)
		}
		return w.brief
	})
}

// Resume ends what Stall has begun.
func (t *Turns) Resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stalled = false
}

func (t *Turns) queue(ctx context.Context, brief bool) error {
	t.mu.Lock()
	if t.state.Swap(sought) == free {
		t.mu.Unlock()
		return nil
	}
	if brief && t.stalled {
		t.mu.Unlock()
		return os.ErrDeadlineExceeded
	}
	w := &waiter{woken: make(chan struct{}), brief: brief}
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	select {
	case <-w.woken:
		if w.refused {
			return os.ErrDeadlineExceeded
		}
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, w)
	refused := w.refused
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 && !refused { // the turn has come at the same moment
		t.Pass()
	}
	return ctx.Err()
}

// Pass gives the turn to the next caller that waits for it.
func (t *Turns) Pass() {
	if !t.state.CompareAndSwap(taken, free) {
		t.next()
	}
}

func (t *Turns) next() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.state.Store(free)
		return
	}
	close(t.waiting[0].woken)
	t.waiting = slices.Delete(t.waiting, 0, 1)
}

// Callers is how many have their turn or wait for it.
func (t *Turns) Callers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state.Load() == free {
		return 0
	}
	return 1 + len(t.waiting)
}
