package transport

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// A direct runs the calls of one direction of a Direct plug-in, on the goroutines of their callers:
// one at a time.
type direct struct {
	mu      sync.Mutex
	inside  bool
	left    chan struct{} // closed when the call in flight returns; nil: nobody waits for that
	stopped bool
}

func (d *direct) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	d.inside = true
	return true
}

func (d *direct) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside = false
	if d.left != nil {
		close(d.left)
		d.left = nil
	}
}

// leaving is closed when the call in flight has returned; nil: there is none.
func (d *direct) leaving() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.inside {
		return nil
	}
	if d.left == nil {
		d.left = make(chan struct{})
	}
	return d.left
}

// stop makes enter fail from now on.
func (d *direct) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
}

// runDirect is run without a goroutine for the call. When ctx ends, or the socket is closed,
// another goroutine ends the call.
func (d *side) runDirect(ctx context.Context, s fullSocket, name string, call func(tmo time.Duration) error) error {
	if !d.direct.enter() {
		return net.ErrClosed
	}
	defer d.direct.leave() // also where the call ends its caller's goroutine
	return d.result(ctx, s, name, d.callDirect(ctx, s, name, call))
}

// callDirect returns nil, a time-out, or the reason to give up; call keeps its own results.
func (d *side) callDirect(ctx context.Context, s fullSocket, name string, call func(tmo time.Duration) error) error {
	if ctx.Done() != nil {
		if name == "Read" && s.mayTry() { // look before watching the context, which costs more
			d.passed = false
			if err := call(0); err == nil || !interrupted(err) && !timedOut(err, false) {
				return nil
			}
			// Close may have stopped waiting meanwhile: nobody would end another call
			if d.giveUp.Load() {
				return os.ErrDeadlineExceeded
			}
		}
		returned, fired := make(chan struct{}), make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(fired)
			d.endDirect(s, name, returned)
		})
		defer func() {
			close(returned)
			if !stop() {
				<-fired // endDirect must not end the next call
			}
		}()
	}
	return d.repeat(ctx, s, name, call, false)
}

// endDirect has Interrupt called again and again until the call in flight has returned. A call that
// takes longer than its second makes the socket dead.
func (d *side) endDirect(s fullSocket, name string, returned <-chan struct{}) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	limit := time.NewTimer(unresponsiveAfter)
	defer limit.Stop()
	for {
		d.giveUp.Store(true)
		s.prod(d)
		select {
		case <-returned:
			return
		case <-again.C:
		case <-s.closed(): // Close ends the call
			return
		case <-limit.C:
			_ = s.unresponsive(name)
			return
		}
	}
}

// stopDirect ends the call in flight for good; false if it does not return within its second, or an
// Interrupt does not.
func (d *side) stopDirect(s fullSocket) bool {
	d.direct.stop()
	left := d.direct.leaving()
	if left == nil {
		return true
	}
	again := time.NewTicker(askAgain)
	defer again.Stop()
	limit := time.NewTimer(unresponsiveAfter)
	defer limit.Stop()
	var ending interruption
	for {
		d.giveUp.Store(true)
		ending.start(s, d)
		select {
		case <-left:
			return ending.over(limit.C) // C must not be closed while Interrupt uses it, either
		case <-again.C:
		case <-limit.C:
			moment := time.NewTimer(slice)
			defer moment.Stop()
			ending.over(moment.C) // an Interrupt that has only just begun is not to be blamed
			return false
		}
	}
}
