package await

import (
	"context"
	"sync"
)

// A parker is where a direction waits.
type parker interface {
	park(writing bool, ready func(uintptr) bool) error // as RawConn.Read and RawConn.Write
	// Ends the wait in that direction, and those to come; false permits waits again.
	halt(writing, on bool) error
}

// keepsAfter is how many waits in a row must have had a context for it to be watched between waits:
// more than a handshake has.
const keepsAfter = 4

// direction is one half of a watch.
type direction struct {
	at     parker
	writes bool // it is the writer's

	// A context that some waits in a row have had is still watched between waits, for the next wait
	// mostly has the same: starting and stopping to watch costs as much as a system call, and memory.
	// That of a handshake is not: when it ends, a goroutine would be started, and a thread woken.
	mu        sync.Mutex
	watched   <-chan struct{} // Done of the context that is watched; nil: none is
	unwatch   func() bool
	last      <-chan struct{} // Done of the last wait's context
	same      int             // waits in a row that had it
	waits     bool            // a wait is in progress that ends with the context
	fired     bool            // the context has ended during the wait
	forgotten bool
}

func (d *direction) park(ready func(uintptr) bool) error { return d.at.park(d.writes, ready) }
func (d *direction) halt(on bool) error                  { return d.at.halt(d.writes, on) }

// parkUnder parks until ready returns true, or ctx ends.
func (d *direction) parkUnder(ctx context.Context, ready func(uintptr) bool) error {
	err := d.enter(ctx)
	if err == nil {
		err = d.park(ready)
	}
	if fired := d.leave(); err != nil && (fired || ctx.Err() != nil) {
		return ctx.Err()
	}
	return err
}

// enter begins a wait that ends with ctx. After an error, which says that ctx has ended, the caller
// must not park: over may have run before the wait began, and would not end it.
func (d *direction) enter(ctx context.Context) error {
	d.mu.Lock()
	if done := ctx.Done(); d.watched != done && !d.forgotten {
		if d.unwatch != nil {
			d.unwatch()
		}
		if d.last != done {
			d.last, d.same = done, 0
		}
		d.same++
		d.watched = done
		d.unwatch = context.AfterFunc(ctx, func() { d.over(done) })
	}
	d.waits = true
	d.mu.Unlock()
	return ctx.Err()
}

// over is called when the context with that Done has ended: it ends the wait in progress, if the
// wait has that context.
func (d *direction) over(done <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watched != done {
		return
	}
	d.watched, d.unwatch, d.same = nil, nil, 0
	if d.waits {
		d.fired = true
		d.halt(true)
	}
}

// leave ends a wait, and reports whether its context had ended it.
func (d *direction) leave() (fired bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fired, d.waits, d.fired = d.fired, false, false
	if fired {
		d.halt(false)
	}
	if d.same < keepsAfter && d.unwatch != nil {
		d.unwatch()
		d.watched, d.unwatch = nil, nil
	}
	return fired
}

// allow permits waits again, except for one that its context has just ended.
func (d *direction) allow() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fired {
		return nil
	}
	return d.halt(false)
}

// forget stops watching the context, for good: no wait is to come.
func (d *direction) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgotten = true
	if d.unwatch != nil {
		d.unwatch()
	}
	d.watched, d.unwatch = nil, nil
}
