package nodes

import "context"

// A pausable is something that a goroutine does again and again (one direction of a line, a worker's list of things to do), and that can
// be told to pause between two turns, to go on in another process or here. A mutex of its owner guards it.
type pausable struct {
	halted bool
	runs   bool               // a turn is in progress
	ctx    context.Context    // of the turns; ends when it halts
	end    context.CancelFunc // ends ctx
	rests  chan struct{}      // closed once no turn is in progress after halt
	again  chan struct{}      // closed when it goes on
}

// begin lets it go on, or begin.
func (p *pausable) begin() {
	p.halted = false
	p.ctx, p.end = context.WithCancel(context.Background())
	if p.again != nil {
		close(p.again)
		p.again = nil
	}
}

// halt asks for a pause; the channel is closed once the turn in progress has ended.
func (p *pausable) halt() <-chan struct{} {
	if !p.halted {
		p.halted, p.rests, p.again = true, make(chan struct{}), make(chan struct{})
		if p.end != nil {
			p.end()
		}
		if !p.runs {
			close(p.rests)
		}
	}
	return p.rests
}

// stop is the end of a turn.
func (p *pausable) stop() {
	if p.runs = false; p.halted {
		close(p.rests)
	}
}
