package wait

import (
	"context"
	"sync"
	"sync/atomic"
)

// A Tally counts what is in progress, running functions and handlers say, and tells when nothing
// is. The zero value is ready.
type Tally struct {
	running atomic.Int64
	waiting atomic.Int32 // how many goroutines are in Wait
	making  sync.Once
	// takes a token when the last one ends while a goroutine waits; made by the first that does either
	idle chan struct{}
}

func (t *Tally) tokens() chan struct{} {
	t.making.Do(func() { t.idle = make(chan struct{}, 1) })
	return t.idle
}

// Enter counts one more.
func (t *Tally) Enter() { t.running.Add(1) }

// Join is Enter if something is running already; else it is false.
func (t *Tally) Join() bool {
	for {
		n := t.running.Load()
		if n == 0 || t.running.CompareAndSwap(n, n+1) {
			return n != 0
		}
	}
}

// Leave counts one less.
func (t *Tally) Leave() {
	if t.running.Add(-1) == 0 && t.waiting.Load() > 0 {
		t.tell()
	}
}

func (t *Tally) tell() {
	select {
	case t.tokens() <- struct{}{}:
	default:
	}
}

// Run runs f on a goroutine of its own, which is counted.
func (t *Tally) Run(f func()) {
	t.Enter()
	go func() { defer t.Leave(); f() }()
}

// Count is how many are running.
func (t *Tally) Count() int64 { return t.running.Load() }

// Awaited tells whether a goroutine waits for the last one.
func (t *Tally) Awaited() bool { return t.waiting.Load() > 0 }

// None tells whether nothing is running.
func (t *Tally) None() bool { return t.running.Load() == 0 }

// Wait waits until nothing is running.
func (t *Tally) Wait(ctx context.Context) error {
	t.waiting.Add(1)
	defer func() {
		if t.waiting.Add(-1) > 0 { // the token was for all of them: pass it on
			t.tell()
		}
	}()
	for !t.None() {
		select {
		case <-t.tokens():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
