package wait

import (
	"context"
	"sync"
)

// A Pausable is something that is done turn by turn: one direction of a line, a worker's list of
// things to do, ticks. It can be told to pause between two turns, to go on in another process or
// here. A mutex of its owner guards it. The zero value does not pause.
type Pausable struct {
	halted  bool
	runs    bool               // a turn is in progress
	cut     context.CancelFunc // ends the context of that turn; nil: it has none
	Changed Bell               // rings when it pauses, goes on, or a turn ends
}

// Begin begins a turn; false: it is to pause. Done ends it.
func (p *Pausable) Begin() bool {
	if p.halted {
		return false
	}
	p.runs = true
	return true
}

// Halted tells whether no turn may begin.
func (p *Pausable) Halted() bool { return p.halted }

// Runs tells whether a turn is in progress.
func (p *Pausable) Runs() bool { return p.runs }

// Context gives the turn in progress a context, which ends when the Pausable is to pause.
func (p *Pausable) Context() (ctx context.Context) {
	ctx, p.cut = context.WithCancel(context.Background())
	return ctx
}

// Done is the end of a turn.
func (p *Pausable) Done() {
	p.runs = false
	p.Cut()
	p.Changed.Ring()
}

// Cut ends the context of the turn in progress.
func (p *Pausable) Cut() {
	if p.cut != nil {
		p.cut()
		p.cut = nil
	}
}

// Halt lets no turn begin from now on, and cuts the one in progress short.
func (p *Pausable) Halt() {
	p.halted = true
	p.Cut()
	p.Changed.Ring()
}

// Pause is Halt, and waits for the end of the turn in progress. The caller must not hold mu, the
// mutex that guards p. p stays halted even if ctx ends.
func (p *Pausable) Pause(ctx context.Context, mu sync.Locker) error {
	mu.Lock()
	defer mu.Unlock()
	p.Halt()
	for p.runs {
		if err := p.Changed.Wait(ctx, mu); err != nil && p.runs {
			return err
		}
	}
	return nil
}

// Resume ends Halt.
func (p *Pausable) Resume() {
	p.halted = false
	p.Changed.Ring()
}
