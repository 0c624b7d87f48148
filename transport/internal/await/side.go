package await

import (
	"context"
	"os"
	"time"
)

// A side is how one direction of a descriptor, its reader or its writer, waits; only that side uses
// it.
type side struct {
	wait    watch
	policy  *Policy
	writing bool
	// Makes one try, which does not wait: whether the operation is done.
	try   func() bool
	poll  func() bool           // waits for a while without the Go poller: likewise
	plain func(fd uintptr) bool // the try of a Wait

	once     bool // try, do not wait
	blocked  bool // there was nothing to read, or no room
	mayPoll  bool // poll may be called
	mayBlock bool // block may be called

	began   time.Time // when the wait in progress began
	thread  history   // how short waits have lately been
	slept   bool      // the last wait was in the Go poller
	started turn

	readyFn, plainFn func(uintptr) bool // made once
}

func (w *side) use(wait watch, p *Policy, writing bool, poll func() bool) {
	w.wait, w.policy, w.writing, w.poll = wait, p, writing, poll
	w.readyFn, w.plainFn = w.ready, w.plainReady
}

func (w *side) direction() *direction {
	if w.writing {
		return w.wait.writing()
	}
	return w.wait.reading()
}

// Wait calls try, on a descriptor that is known to be open, until try is done, or ctx ends: then
// the error is ctx's; os.ErrDeadlineExceeded under NoWait, os.ErrClosed after Close. It does not
// poll, and learns nothing of the traffic.
func (w *side) Wait(ctx context.Context, try func(fd uintptr) bool) error {
	w.plain, w.blocked = try, false
	err := w.do(ctx, w.plainFn)
	w.plain = nil
	w.wait.lookAway(w.writing)
	return err
}

// do calls ready under the Go poller until it returns true, or ctx ends.
func (w *side) do(ctx context.Context, ready func(uintptr) bool) error {
	single, cancellable := IsNoWait(ctx), ctx.Done() != nil
	if cancellable {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	w.once = single || cancellable // look before watching the context, which costs more
	if err := w.direction().park(ready); err != nil || !w.once || !w.blocked {
		return err
	}
	if single {
		return os.ErrDeadlineExceeded
	}
	w.once, w.blocked = false, false
	return w.direction().parkUnder(ctx, ready)
}

// begin is called before a read or write; single says that it must not wait.
func (w *side) begin(single bool) {
	w.blocked = false
	w.mayPoll, w.mayBlock = CanPoll && !single, CanPoll && !single
}

func (w *side) plainReady(fd uintptr) bool {
	if w.plain(fd) || CanPoll && !w.once && w.wait.look(w.writing) && w.plain(fd) {
		return true
	}
	w.blocked = true
	return w.once
}

// ready is called under the watch when something may have come, or there may be room; false asks it
// to wait.
func (w *side) ready(uintptr) bool {
	for {
		switch {
		case w.try():
			return true
		case w.mayPoll && w.poll():
			return true
		case w.mayBlock && !w.once && w.block():
			return true
		}
		if CanPoll && !w.once && w.wait.look(w.writing) {
			continue // what came before look does not end the wait
		}
		w.blocked = true
		if !w.once {
			w.slept, w.started = true, turn{}
		}
		return w.once
	}
}

// block waits in a system call on its own thread, if waits have lately been short. If that
// succeeds, the Go poller looks away from then on.
func (w *side) block() bool {
	w.mayBlock = false
	if !w.thread.due() || !w.policy.enter(&w.started, w.began) {
		return false
	}
	defer w.policy.leave()
	if w.slept {
		w.slept = false
		leaveGoPoller()
	}
	if !w.wait.block(w.writing, &w.policy.threads) || !w.try() {
		w.thread = history{}
		return false
	}
	if !w.thread.hot {
		w.thread = history{hot: true}
	}
	w.wait.lookAway(w.writing)
	return true
}

// waited is called after a wait, and returns how long it was.
func (w *side) waited() time.Duration {
	d := time.Since(w.began)
	w.thread.waited(d <= blocksFor)
	return d
}
