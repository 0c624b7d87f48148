package transport

import (
	"context"
	"net"
	"os"
	"time"
)

// runDirect is run without a goroutine for the call. When ctx ends, or the socket is closed,
// another goroutine ends the call.
func (d *side[C]) runDirect(ctx context.Context, name string, call func(tmo time.Duration) error) error {
	if !d.enter() {
		return net.ErrClosed
	}
	defer d.leave() // also where the call ends its caller's goroutine
	return d.result(ctx, name, d.callDirect(ctx, name, call))
}

// callDirect returns nil, a time-out, or the reason to give up; call keeps its own results.
func (d *side[C]) callDirect(ctx context.Context, name string, call func(tmo time.Duration) error) error {
	if ctx.Done() != nil {
		// look before watching the context, which costs more; unless being cut off costs the carrier
		if name == "Read" && d.s.cb.InterruptOne == nil {
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
			d.endDirect(name, returned)
		})
		defer func() {
			close(returned)
			if !stop() {
				<-fired // endDirect must not end the next call
			}
		}()
	}
	return d.repeat(ctx, name, call)
}

// endDirect has Interrupt called again and again until the call in flight has returned. A call that
// takes longer than its second makes the socket dead.
func (d *side[C]) endDirect(name string, returned <-chan struct{}) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	limit := time.NewTimer(d.s.patience)
	defer limit.Stop()
	for {
		d.giveUp.Store(true)
		d.prod()
		select {
		case <-returned:
			return
		case <-again.C:
		case <-d.s.closing: // Close ends the call
			return
		case <-limit.C:
			_ = d.s.unresponsive(name)
			return
		}
	}
}

// endForGood ends the call in flight once the side is stopped; false if it does not return within
// its second, or an Interrupt does not.
func (d *side[C]) endForGood(left <-chan struct{}) bool {
	limit := time.NewTimer(d.s.patience)
	defer limit.Stop()
	ending, returned := d.interruptUntil(left, limit.C, time.Time{})
	if returned {
		return ending.over(limit.C) // C must not be closed while Interrupt uses it, either
	}
	moment := time.NewTimer(slice)
	defer moment.Stop()
	ending.over(moment.C) // an Interrupt that has only just begun is not to be blamed
	return false
}
