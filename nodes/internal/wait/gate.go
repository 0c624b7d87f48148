package wait

import (
	"context"
	"sync"
)

// A Gate is open or shut, and tells when that changes. While it is shut a listener
// accepts nothing, and a front gives its workers nothing. The zero value is open.
type Gate struct {
	mu     sync.Mutex
	closed bool
	change Bell
}

// Shut shuts the gate; false if it was shut already.
func (g *Gate) Shut() bool { return g.set(true) }

// Open opens the gate.
func (g *Gate) Open() { g.set(false) }

func (g *Gate) set(closed bool) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == closed {
		return false
	}
	g.closed = closed
	g.change.Ring()
	return true
}

// State tells whether the gate is shut, and returns a channel that is closed when that changes.
func (g *Gate) State() (shut bool, change <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed, g.change.Next()
}

// IsShut is State without the channel: for a caller that does not wait.
func (g *Gate) IsShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// Awaited tells whether a goroutine waits for a change.
func (g *Gate) Awaited() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.change.Awaited()
}

// Pass waits until the gate is open, or ctx ends. With transport.NoWait it does not wait: a shut
// gate is os.ErrDeadlineExceeded.
func (g *Gate) Pass(ctx context.Context) error {
	for {
		shut, change := g.State()
		if !shut {
			return nil
		}
		if err := For(ctx, change); err != nil {
			return err
		}
	}
}
