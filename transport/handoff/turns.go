package handoff

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/transport"
)

// A turns is a lock that callers get in the order in which they came, or until their contexts end.
// Without contention it costs two atomic operations. The zero value is ready to use.
type turns struct {
	state   atomic.Int32 // free, taken or sought
	mu      sync.Mutex
	waiting []chan struct{} // each is closed when its caller's turn has come
}

const (
	free   int32 = iota
	taken        // no caller waits
	sought       // taken, and callers may be in waiting
)

// try takes the turn if it is free.
func (t *turns) try() bool { return t.state.CompareAndSwap(free, taken) }

// take waits for the caller's turn, which the caller must then pass on.
func (t *turns) take(ctx context.Context) error {
	if t.try() {
		return nil
	}
	return t.queue(ctx)
}

func (t *turns) queue(ctx context.Context) error {
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	t.mu.Lock()
	if t.state.Swap(sought) == free {
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	t.waiting = append(t.waiting, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, turn)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // the turn has come at the same moment
		t.pass()
	}
	return ctx.Err()
}

// pass gives the turn to the next caller that waits for it.
func (t *turns) pass() {
	if !t.state.CompareAndSwap(taken, free) {
		t.next()
	}
}

func (t *turns) next() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.state.Store(free)
		return
	}
	close(t.waiting[0])
	t.waiting = slices.Delete(t.waiting, 0, 1)
}
