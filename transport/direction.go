package transport

import (
	"context"
	"sync"
	"time"
)

// past is a deadline that has passed: setting it returns whoever is parked at once.
var past = time.Unix(1, 0)

// direction is one half of a watch.
type direction struct {
	park     func(ready func(uintptr) bool) error
	deadline func(time.Time) error

	// The context of two waits in a row is watched on between waits, for the next one mostly has the same: to begin and to end that costs
	// as much as a system call, and memory.
	mu        sync.Mutex
	watched   <-chan struct{} // what says that the context has ended; nil: none is watched
	unwatch   func() bool
	last      <-chan struct{} // of the wait before
	keeps     bool            // goes on watching
	waits     bool            // for what ends with it
	fired     bool            // it has ended meanwhile
	forgotten bool
}

// enter begins a wait that ends with ctx. A wait that ctx has ended before is not to begin: whoever watches may have seen that before.
func (d *direction) enter(ctx context.Context) error {
	d.mu.Lock()
	if done := ctx.Done(); d.watched != done && !d.forgotten {
		if d.unwatch != nil {
			d.unwatch()
		}
		d.keeps = d.last == done
		d.watched, d.last = done, done
		d.unwatch = context.AfterFunc(ctx, func() { d.over(done) })
	}
	d.waits = true
	d.mu.Unlock()
	return ctx.Err()
}

// over ends the wait in progress, if it is to end with that.
func (d *direction) over(done <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watched != done {
		return
	}
	d.watched, d.unwatch, d.keeps = nil, nil, false
	if d.waits {
		d.fired = true
		d.deadline(past)
	}
}

// leave ends a wait, and reports whether it was over.
func (d *direction) leave() (fired bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fired, d.waits, d.fired = d.fired, false, false
	if fired {
		d.deadline(time.Time{})
	}
	if !d.keeps && d.unwatch != nil {
		d.unwatch()
		d.watched, d.unwatch = nil, nil
	}
	return fired
}

// allow lets waits be made again, but for one that its context has just ended.
func (d *direction) allow() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fired {
		return nil
	}
	return d.deadline(time.Time{})
}

// forget lets go of the context: no later wait is to come.
func (d *direction) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgotten = true
	if d.unwatch != nil {
		d.unwatch()
	}
	d.watched, d.unwatch = nil, nil
}
