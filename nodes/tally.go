package nodes

import (
	"context"
	"sync/atomic"
)

// A tally counts what is in progress, functions and handlers that are running, and tells when nothing is. newTally makes one.
type tally struct {
	running atomic.Int64
	waiting atomic.Int32  // how many wait
	idle    chan struct{} // takes a token when the last one ends while somebody waits
}

func newTally() tally { return tally{idle: make(chan struct{}, 1)} }

func (t *tally) enter() { t.running.Add(1) }

// join is enter beside others; false when there are none.
func (t *tally) join() bool {
	for {
		n := t.running.Load()
		if n == 0 || t.running.CompareAndSwap(n, n+1) {
			return n != 0
		}
	}
}

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

// run runs f on a goroutine of its own, which is counted.
func (t *tally) run(f func()) {
	t.enter()
	go func() { defer t.leave(); f() }()
}

// none tells whether nothing is running.
func (t *tally) none() bool { return t.running.Load() == 0 }

// wait waits until nothing is running.
func (t *tally) wait(ctx context.Context) error {
	t.waiting.Add(1)
	defer func() {
		if t.waiting.Add(-1) > 0 { // the token was for all
			t.tell()
		}
	}()
	for !t.none() {
		select {
		case <-t.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
