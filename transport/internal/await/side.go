package await

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A side is how one direction of a descriptor, its reader or its writer, waits; only that side uses
// it.
type side struct {
	wait    watch
	policy  *Policy
	writing bool
	// Makes one try, which does not wait: whether the operation is done.
	try    func() bool
	expect func() bool           // a reader's own ways to wait for a while; nil for a writer: likewise
	plain  func(fd uintptr) bool // the try of a Wait

	once     bool // try, do not wait
	blocked  bool // there was nothing to read, or no room
	expected bool // expect is not to be called
	mayBlock bool // block may be called

	began  time.Time // when the wait in progress began; zero: there was none
	thread habit     // to wait on the own thread
	slept  bool      // the last wait was in the Go poller
	ran    time.Time // since when no other goroutine had to be let run

	readyFn, plainFn func(uintptr) bool // made once
}

func (w *side) use(wait watch, p *Policy, writing bool) {
	w.wait, w.policy, w.writing = wait, p, writing
	w.readyFn, w.plainFn = w.ready, w.plainReady
}

func (w *side) direction() *direction {
	if w.writing {
		return w.wait.writing()
	}
	return w.wait.reading()
}

// Wait calls try, on a descriptor that is known to be open, until try is done, or ctx ends: then
// the error is ctx's; os.ErrDeadlineExceeded under NoWait, os.ErrClosed after Close. It
// waits in the Go poller only, and learns nothing of the traffic.
func (w *side) Wait(ctx context.Context, try func(fd uintptr) bool) error {
	w.plain, w.blocked = try, false
	err := w.do(ctx, w.plainFn)
	w.plain = nil
	w.wait.lookAway(w.writing)
	return err
}

// do calls ready under the Go poller until it returns true, or ctx ends.
func (w *side) do(ctx context.Context, ready func(uintptr) bool) error {
	single, cancellable := patience.IsNoWait(ctx), ctx.Done() != nil
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
	w.mayBlock = CanPoll && !single
	w.expected = !w.mayBlock || w.expect == nil
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
		if w.try() {
			return true
		}
		if w.mayBlock && w.began.IsZero() {
			w.began = time.Now()
			w.letOthersRun()
		}
		if !w.expected && w.expect() || w.mayBlock && !w.once && w.block() {
			return true
		}
		if CanPoll && !w.once && w.wait.look(w.writing) {
			continue // it may have become ready before look: try first, then wait
		}
		w.blocked = true
		if !w.once {
			w.slept = true
		}
		return w.once
	}
}

// runsFor is how long a goroutine that does not sleep runs until it lets others run.
const runsFor = time.Millisecond

// blocksFor is the longest wait that still counts as short enough to block the thread for: see
// threadWait.
const blocksFor = 250 * time.Microsecond

// block waits in a system call on its own thread, if waits have lately been short. If that
// succeeds, the Go poller looks away from then on.
func (w *side) block() bool {
	w.mayBlock = false
	if !w.thread.formed || !w.policy.enter() {
		return false
	}
	defer w.policy.leave()
	if w.slept {
		w.slept = false
		leaveGoPoller()
	}
	if !w.wait.block(w.writing, &w.policy.threads) || !w.try() {
		w.thread = habit{}
		return false
	}
	w.wait.lookAway(w.writing)
	return true
}

// letOthersRun lets other goroutines run, if this one has not slept for a while. To the scheduler,
// one that naps, or waits on its own thread, again and again looks like one that computes.
func (w *side) letOthersRun() {
	switch {
	case w.slept || w.ran.IsZero():
		w.ran = w.began
	case w.began.Sub(w.ran) >= runsFor:
		runtime.Gosched()
		w.ran = time.Now()
	}
}

// waited is called after a read or write, and returns how long it has waited, if it did.
func (w *side) waited() (d time.Duration, did bool) {
	if w.began.IsZero() {
		return 0, false
	}
	d = time.Since(w.began)
	w.began = time.Time{}
	w.thread.judge(d <= blocksFor)
	return d, true
}
