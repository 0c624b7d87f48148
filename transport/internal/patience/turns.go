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
	waiting []chan struct{} // each closed when the caller's turn has come
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
	t.mu.Lock()
	if t.state.Swap(sought) == free {
		t.mu.Unlock()
		return nil
	}
	woken := make(chan struct{})
	t.waiting = append(t.waiting, woken)
	t.mu.Unlock()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, woken)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // the turn has come at the same moment
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
	close(t.waiting[0])
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
