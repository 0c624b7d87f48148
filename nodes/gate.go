package nodes

import (
	"context"
	"sync"
)

// A gate is open or shut, and tells when that changes. It stands where something may have to wait for the end of a hand-off. The zero
// value is open.
type gate struct {
	mu     sync.Mutex
	closed bool
	change bell
}

// shut shuts the gate; false if it was shut already.
func (g *gate) shut() bool { return g.set(true) }

// open opens the gate.
func (g *gate) open() { g.set(false) }

func (g *gate) set(closed bool) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == closed {
		return false
	}
	g.closed = closed
	g.change.ring()
	return true
}

// stir wakes whoever waits for a change, to look again; the gate stays as it is.
func (g *gate) stir() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.change.ring()
}

// state tells whether the gate is shut, and what is closed when that changes.
func (g *gate) state() (shut bool, change <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed, g.change.next()
}

// isShut is state without the channel: for a caller that does not wait.
func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// pass waits until the gate is open, or ctx ends. With transport.NoWait it does not wait: a shut gate is os.ErrDeadlineExceeded.
func (g *gate) pass(ctx context.Context) error {
	for {
		shut, change := g.state()
		if !shut {
			return nil
		}
		select {
		case <-change:
		case <-cancelled(ctx):
			return errOf(ctx)
		}
	}
}
