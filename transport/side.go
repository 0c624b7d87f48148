package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// slice is the longest single call of Read or Accept of a FullImpl plug-in that has no Interrupt.
const slice = 100 * time.Millisecond

// A side runs the waiting callbacks of one direction of a FullImpl socket, on a goroutine of its
// own, so that a callback that never comes back can be left behind. The goroutine starts with the
// first call and ends with the socket. Those of a Direct plug-in run on their caller's goroutine.
type side[C any] struct {
	s       *full[C]
	writing bool

	mu      sync.Mutex
	work    chan func()   // to the goroutine; nil before the first call
	inside  bool          // a call is in flight
	inPlace bool          // it is on its caller's goroutine
	left    chan struct{} // closed when it returns; nil: nobody waits for that
	stopped bool

	done    chan struct{} // the goroutine's call has returned
	giveUp  atomic.Bool   // the call in flight has been ended
	cut     atomic.Bool   // it has been ended by shutdown(2)
	halting atomic.Bool   // an Interrupt for a pause is in flight
	halted  atomic.Bool   // from halt to resume: calls end, and none begins
	passed  bool          // the last call took the time that it was given; for the caller once that call has returned
	late    func()        // is run when an Accept that was left behind has come back
}

// enter begins a call on its caller's goroutine.
func (d *side[C]) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside, d.inPlace = !d.stopped, true
	return d.inside
}

// start gives a call to the goroutine.
func (d *side[C]) start(call func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return net.ErrClosed
	}
	if d.work == nil {
		d.work, d.done = make(chan func(), 1), make(chan struct{}, 1)
		go func(work chan func(), done chan struct{}) {
			for f := range work {
				func() {
					defer func() { done <- struct{}{} }() // also where f ends the goroutine
					f()
				}()
			}
		}(d.work, d.done)
	}
	d.inside, d.inPlace = true, false
	d.work <- call
	return nil
}

// leave ends a call.
func (d *side[C]) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside = false
	if d.left != nil {
		close(d.left)
		d.left = nil
	}
}

// leaving is closed when the call in flight has returned; nil: there is none.
func (d *side[C]) leaving() (left <-chan struct{}, inPlace bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.inside {
		return nil, false
	}
	if d.left == nil {
		d.left = make(chan struct{})
	}
	return d.left, d.inPlace
}

// A haste counts time-outs that come before their time, without an Interrupt to explain them. After
// hasteLimit in a row, each within noTime, the plug-in is at fault; otherwise the SDK would try
// again for ever.
type haste struct {
	count int
	last  time.Time
	asked int64
}

const (
	hasteLimit = 100
	noTime     = 500 * time.Microsecond
	enoughTime = 10 * time.Millisecond // a callback that has so much time left must wait
)

// hasLost counts a time-out, or an EINTR, and reports whether there have been too many. left is the
// time that the call still had, asked how many Interrupts there have been.
func (h *haste) hasLost(asked int64, left time.Duration) bool {
	if left != Infinite && left < enoughTime {
		return false
	}
	now := time.Now()
	if asked != h.asked || now.Sub(h.last) > noTime {
		h.count = 0
	}
	h.count++
	h.last, h.asked = now, asked
	return h.count > hasteLimit
}

// run makes one waiting call. call is given the time that it may take, and is repeated, unless it
// is Connect, if it comes back before that with nothing done. When ctx ends or the socket is
// closed, run ends the call, and waits one second more for it.
func (d *side[C]) run(ctx context.Context, name string, call func(tmo time.Duration) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	d.giveUp.Store(false)
	if d.halted.Load() {
		return os.ErrDeadlineExceeded
	}
	if d.s.isDirect() && name != "Accept" && name != "Connect" {
		return d.runDirect(ctx, name, call)
	}
	d.cut.Store(false)
	// replaced by nil, a time-out, or the reason to give up; call keeps its own results
	result := errExited
	if err := d.start(func() {
		result = d.repeat(ctx, name, call)
	}); err != nil {
		return err
	}
	select {
	case <-d.done:
		defer d.leave()
		return d.result(ctx, name, result)
	case <-ctx.Done():
	case <-d.s.closing:
	}
	if err := d.end(ctx, name); err != nil {
		return err
	}
	defer d.leave() // after result: a plug-in's Close, which waits for it, may fail
	return d.result(ctx, name, result)
}

// isSliced reports whether calls are made in slices, for nothing ends them.
func (d *side[C]) isSliced() bool { return !d.writing && !d.s.canInterrupt() }

// end ends the call that runs, and waits until it has come back, or one second: then its error is
// that of a callback that does not.
func (d *side[C]) end(ctx context.Context, name string) error {
	limit := time.NewTimer(d.s.patience)
	defer limit.Stop()
	// A callback whose time has passed is about to say so itself: shutdown(2), which ends the
	// connection, waits a little.
	grace := time.Now()
	if !d.s.canInterrupt() && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		grace = grace.Add(slice)
	}
	ending, returned := d.interruptUntil(d.done, limit.C, grace)
	switch {
	case !returned:
		go d.comeBack(d.done, ending.done)
		if ending.running() && time.Since(ending.since) > d.s.patience/2 {
			name = "Interrupt" // it is Interrupt that does not come back
		}
		return d.s.unresponsive(name)
	case !ending.over(limit.C): // C must not be closed while Interrupt uses it, either
		go d.comeBack(nil, ending.done)
		return d.s.unresponsive("Interrupt")
	}
	return nil
}

// repeat makes a call until it has done something, failed, or its time is over. The deadline may be
// moved meanwhile, by that of a NetConn.
func (d *side[C]) repeat(ctx context.Context, name string, call func(tmo time.Duration) error) error {
	var early haste
	for repeats := 0; ; repeats++ {
		tmo := patience.TimeLeft(ctx)
		bounded := tmo != Infinite
		if d.isSliced() {
			tmo = min(tmo, slice)
		}
		var began time.Time
		if tmo != Infinite { // otherwise began is not used
			began = time.Now()
		}
		err := call(tmo)
		d.passed = tmo != Infinite && time.Since(began) >= tmo
		switch {
		case err == nil:
			return nil
		case d.cut.Load(): // an error that shutdown(2) has caused is not the call's own
			return os.ErrDeadlineExceeded
		case interrupted(err) && repeats < maxRepeats && !d.giveUp.Load():
		case !interrupted(err) && !timedOut(err, d.passed):
			return nil
		case d.giveUp.Load() || d.halted.Load() || bounded && patience.TimeLeft(ctx) == 0:
			return os.ErrDeadlineExceeded
		// the plug-in has a limit of its own; a socket that is half connected cannot connect again
		case name == "Connect" && !interrupted(err):
			return nil
		case !early.hasLost(d.s.asked.Load(), tmo):
		case interrupted(err):
			return d.s.endless(name)
		default:
			return d.s.hasty(name)
		}
		// A slice is over, the deadline was moved, Interrupt has ended this call together with one
		// of the other direction, or a signal has.
	}
}

// comeBack waits for calls that were left behind: once they have returned the socket can be closed
// after all.
func (d *side[C]) comeBack(calls ...<-chan struct{}) {
	for _, done := range calls {
		if done != nil {
			<-done
		}
	}
	if d.late != nil {
		d.late()
	}
	d.leave()
}

// result is what run returns of a call that has come back.
func (d *side[C]) result(ctx context.Context, name string, result error) error {
	if result = d.s.exited(name, result); result == nil {
		return nil
	}
	if err := d.s.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// a pause has ended the call, and may have been given up since
	if patience.HasTime(ctx) || IsNoWait(ctx) {
		return result
	}
	if done := ctx.Done(); done != nil {
		// The timer of ctx is about to fire: callers that ask ctx whether its time was over must be
		// told so.
		select {
		case <-done:
		case <-d.s.closing:
		}
	}
	return context.DeadlineExceeded
}

// stop ends the goroutine once the call in flight has returned, whenever that is; false if it does
// not within its second.
func (d *side[C]) stop() bool {
	d.mu.Lock()
	d.stopped = true
	if d.work != nil {
		close(d.work)
	}
	d.mu.Unlock()
	left, inPlace := d.leaving()
	switch {
	case left == nil:
		return true
	case inPlace:
		return d.endForGood(left)
	default: // run ends it
		return endsWithin(left, d.s.patience+slice)
	}
}

// awaitLeft waits until the call of a side that was stopped has returned, for as long as that
// takes.
func (d *side[C]) awaitLeft() {
	if left, _ := d.leaving(); left != nil {
		<-left
	}
}
