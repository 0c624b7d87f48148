package nodes

import (
	"context"
	"sync"
)

// A pausable is something that is done turn by turn: one direction of a line, a worker's list of things to do, ticks, the signals of
// processes that end. It can be told to pause between two turns, to go on in another process or here. A mutex of its owner guards it. The
// zero value does not pause.
type pausable struct {
	halted bool
	runs   bool               // a turn is in progress
	cut    context.CancelFunc // ends the context of that turn; nil: it has none
	change bell               // rings when it pauses, goes on, or a turn ends
}

// begin begins a turn; false: it is to pause.
func (p *pausable) begin() bool {
	if p.halted {
		return false
	}
	p.runs = true
	return true
}

// context gives the turn in progress a context, which ends when it is to pause.
func (p *pausable) context() (ctx context.Context) {
	ctx, p.cut = context.WithCancel(context.Background())
	return ctx
}

// done is the end of a turn.
func (p *pausable) done() {
	p.runs = false
	p.cutShort()
	p.change.ring()
}

func (p *pausable) cutShort() {
	if p.cut != nil {
		p.cut()
		p.cut = nil
	}
}

// halt lets no turn begin from now on, and cuts the one in progress short.
func (p *pausable) halt() {
	p.halted = true
	p.cutShort()
	p.change.ring()
}

// pause is halt that waits for the end of the turn in progress. mu, the mutex that guards p, is not held; it is halted even if ctx ends.
func (p *pausable) pause(ctx context.Context, mu sync.Locker) error {
	mu.Lock()
	defer mu.Unlock()
	p.halt()
	for p.runs {
		change := p.change.next()
		mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
		}
		mu.Lock()
		if p.runs && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// resume ends halt.
func (p *pausable) resume() {
	p.halted = false
	p.change.ring()
}
