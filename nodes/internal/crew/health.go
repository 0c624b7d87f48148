package crew

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// heardLately is the default of Config.Trust.
const heardLately = 50 * time.Millisecond

// HeardLately tells whether the worker has said something just now.
func (w *Worker) HeardLately() bool {
	at := w.heard.Load()
	return at != nil && time.Since(*at) < w.crew.cfg.Trust
}

// there tells whether a worker is alive. Unless the worker was heard of just now, it is probed, and
// has to answer within patience.
func (w *Worker) there(ctx context.Context, patience time.Duration) bool {
	return w.HeardLately() || w.answers(ctx, patience)
}

// answers tells whether a worker answers a probe within patience.
func (w *Worker) answers(ctx context.Context, patience time.Duration) bool {
	answer := make(chan struct{})
	w.crew.mu.Lock()
	w.probed++
	id := w.probed
	if w.ready {
		w.probes[id] = answer
	} else {
		close(answer)
	}
	w.crew.mu.Unlock()
	w.Say(&talk.Probe{ID: id})
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-answer:
		w.crew.mu.Lock()
		defer w.crew.mu.Unlock()
		return w.ready
	case <-ctx.Done():
	case <-t.C:
	}
	w.crew.mu.Lock()
	defer w.crew.mu.Unlock()
	if delete(w.probes, id); ctx.Err() == nil {
		w.hang()
	}
	return false
}

// hang notes that a worker does not answer; c.mu is held.
func (w *Worker) hang() {
	if !w.hangs && w.ready {
		w.hangs = true
		w.crew.cfg.Log.Warn("worker hangs", "slot", w.slot, "pid", w.proc.PID)
	}
}
