package transport

import (
	"container/list"
	"context"
	"os"
	"sync"
)

// turns let one caller in after another, in the order in which they came. The zero value is ready.
type turns struct {
	mu      sync.Mutex
	taken   bool
	waiting list.List // of chan struct{}, closed when its owner's turn has come
}

// take waits for the caller's turn, which the caller ends with pass. A caller whose ctx ends first leaves the line.
func (t *turns) take(ctx context.Context) error {
	if err := ended(ctx); err != nil {
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
		t.pass()
	default:
		t.waiting.Remove(place)
		t.mu.Unlock()
	}
	return ctx.Err()
}

// pass gives the turn to the next in line.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.waiting.Front()
	if first == nil {
		t.taken = false
		return
	}
	close(t.waiting.Remove(first).(chan struct{}))
}
