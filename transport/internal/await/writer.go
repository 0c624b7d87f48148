package await

import (
	"context"
	"time"
)

// A Writer is how the writer of a descriptor waits for room. Only the writer uses it.
type Writer struct {
	side
	room history // how soon room has lately come
}

func (w *Writer) use(wait watch, p *Policy) { w.side.use(wait, p, true, w.expect) }

// Do calls try whenever there may be room, as Reader.Do does.
func (w *Writer) Do(ctx context.Context, try func() bool) error {
	w.try = try
	w.begin(IsNoWait(ctx))
	err := w.do(ctx, w.readyFn)
	w.end()
	w.try = nil
	return err
}

// end is called after a write. If the writer has waited, the Go poller looks away: over a UNIX
// socket it would wake up whenever the peer reads.
func (w *Writer) end() {
	if w.began.IsZero() {
		return
	}
	w.room.slept(w.waited() <= 4*w.policy.limit)
	w.began = time.Time{}
	w.wait.lookAway(true)
}

// expect tries again and again, if room has lately come soon.
func (w *Writer) expect() bool {
	w.mayPoll, w.began = false, time.Now()
	if w.policy.limit == 0 || !w.room.due() || !w.policy.enter(&w.started, w.began) {
		return false
	}
	defer w.policy.leave()
	came := false
	for !came && time.Since(w.began) < w.policy.limit {
		spinFor(4 * pollPause)
		came = w.try()
	}
	w.room.polled(came)
	return came
}
