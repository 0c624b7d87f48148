package await

import (
	"container/list"
	"context"
	"os"
	"sync"
)

// Turns let one caller in after another, in the order in which they came. The zero value is ready.
type Turns struct {
	mu      sync.Mutex
	taken   bool
	waiting list.List // of chan struct{}, closed when its owner's turn has come
}

// Take waits for the caller's turn, which the caller ends with Pass. A caller whose ctx ends first
// leaves the line.
func (t *Turns) Take(ctx context.Context) error {
	if err := Ended(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return nil
	}
	if IsNoWait(ctx) {
		t.mu.Unlock()
		return os.ErrDeadlineExceeded
	}
	turn := make(chan struct{})
	place := t.waiting.PushBack(turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	select {
	case <-turn: // at the same moment
		t.mu.Unlock()
		t.Pass()
	default:
		t.waiting.Remove(place)
		t.mu.Unlock()
	}
	return ctx.Err()
}

// Pass gives the turn to the next in line.
func (t *Turns) Pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.waiting.Front()
	if first == nil {
		t.taken = false
		return
	}
	close(t.waiting.Remove(first).(chan struct{}))
}

// Callers is how many have their turn or wait for it.
func (t *Turns) Callers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.taken {
		return 0
	}
	return 1 + t.waiting.Len()
}
