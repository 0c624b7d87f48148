package nodes

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// heardLately is the time within which a worker that has said something is not probed.
const heardLately = 50 * time.Millisecond

// there tells whether a worker is alive. Unless the worker was heard of just now, it is probed, and
// has to answer within patience.
func (w *workerProcess) there(ctx context.Context, patience time.Duration) bool {
	if at := w.heard.Load(); at != nil && time.Since(*at) < heardLately {
		return true
	}
	answer := make(chan struct{})
	w.f.mu.Lock()
	w.probed++
	id := w.probed
	if w.ready {
		w.probes[id] = answer
	} else {
		close(answer)
	}
	w.f.mu.Unlock()
	w.line.Say(&talk.Probe{ID: id})
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-answer:
		w.f.mu.Lock()
		defer w.f.mu.Unlock()
		return w.ready
	case <-ctx.Done():
	case <-t.C:
	}
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if delete(w.probes, id); ctx.Err() == nil {
		w.hang()
	}
	return false
}

// hang notes that a worker does not answer; f.mu is held.
func (w *workerProcess) hang() {
	if !w.hangs && w.ready {
		w.hangs = true
		w.f.n.log.Warn("worker hangs", "slot", w.slot, "pid", w.proc.PID)
	}
}
