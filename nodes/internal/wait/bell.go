package wait

import (
	"context"
	"sync"
)

// A Bell wakes all goroutines that wait for something to change, to look again. It is guarded by a
// mutex of its owner, the one under which they look, so that none of them misses a change between
// the look and the wait. The zero value is ready.
type Bell struct {
	rings chan struct{} // closed when it rings next; nil: no goroutine waits for that
}

// Next is closed when the bell rings next.
func (b *Bell) Next() <-chan struct{} {
	if b.rings == nil {
		b.rings = make(chan struct{})
	}
	return b.rings
}

// Wait waits until the bell rings, or ctx ends, as For does. mu, which guards the bell, is held,
// but not meanwhile.
func (b *Bell) Wait(ctx context.Context, mu sync.Locker) error {
	change := b.Next()
	mu.Unlock()
	defer mu.Lock()
	return For(ctx, change)
}

// Awaited tells whether a goroutine waits for it.
func (b *Bell) Awaited() bool { return b.rings != nil }

// Ring wakes the goroutines that wait.
func (b *Bell) Ring() {
	if b.rings != nil {
		close(b.rings)
		b.rings = nil
	}
}
