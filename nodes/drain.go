package nodes

import (
	"context"
	"sync/atomic"
)

// A tally counts what is in progress, functions and handlers that are running, and tells when nothing is.
type tally struct {
	running atomic.Int64
	waiting atomic.Int32  // how many wait
	idle    chan struct{} // takes a token when the last one ends while somebody waits
}

func (t *tally) enter() { t.running.Add(1) }

func (t *tally) leave() {
	if t.running.Add(-1) == 0 && t.waiting.Load() > 0 {
		t.tell()
	}
}

func (t *tally) tell() {
	select {
	case t.idle <- struct{}{}:
	default:
	}
}

// wait waits until nothing is running.
func (t *tally) wait(ctx context.Context) error {
	t.waiting.Add(1)
	defer func() {
		if t.waiting.Add(-1) > 0 { // the token was for all
			t.tell()
		}
	}()
	for t.running.Load() != 0 {
		select {
		case <-t.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drain lets running functions and handlers finish, with what they need for that; new ones do not start.
func (p *processes) drain(ctx context.Context) error {
	p.mu.Lock()
	p.drains = true
	p.mu.Unlock()
	return wrap("drain", "", p.tally.wait(ctx))
}

// busy counts a function or handler that is about to run; false once the node drains.
func (p *processes) busy() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.drains {
		return false
	}
	p.tally.enter()
	return true
}

// begin is busy for a server that is about to take its next message. It waits while the node is being frozen.
func (p *processes) begin() bool {
	for {
		if shut, change := p.resting.state(); shut {
			<-change
			continue
		}
		if !p.busy() {
			return false
		}
		if !p.resting.isShut() {
			return true
		}
		p.tally.leave() // the one who waits for the tally may have looked before
	}
}
