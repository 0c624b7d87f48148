package meter

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// A Run is a call in progress, made or served; nil: nobody measures.
type Run struct {
	table *Table
	hooks *metrics.Hooks // nil: it has ended
	ctx   context.Context
	call  metrics.CallInfo
	began time.Time
}

// Begin begins a call, which table counts in the end. What belongs to it gets the context.
func (t *Table) Begin(ctx context.Context, h *metrics.Hooks, call metrics.CallInfo) (context.Context, *Run) {
	call.Peer, call.Module, call.Function = metrics.Clip(call.Peer), metrics.Clip(call.Module), metrics.Clip(call.Function)
	r := &Run{table: t, hooks: h, ctx: ctx, call: call, began: time.Now()}
	if h.CallBegun != nil {
		r.ctx = h.CallBegun(ctx, &r.call)
	}
	return r.ctx, r
}

// IsFunction tells whether somebody measures the call, and it is one of a function.
func (r *Run) IsFunction() bool { return r != nil && r.call.Kind == metrics.KindFunction }

// End ends a call.
func (r *Run) End(outcome metrics.Outcome, err error) {
	if r == nil || r.hooks == nil {
		return
	}
	h := r.hooks
	r.hooks = nil
	r.call.Duration, r.call.Outcome, r.call.Err = time.Since(r.began), outcome, err
	r.table.Add(&r.call)
	if h.CallEnded != nil {
		h.CallEnded(r.ctx, &r.call)
	}
}

// EndReturned ends a call of a function here, which has returned err.
func (r *Run) EndReturned(err error) {
	switch wrong, refused := err.(*gofunc.ArgumentError); {
	case refused:
		r.End(metrics.OutcomeRefused, wrong)
	case err != nil:
		r.End(metrics.OutcomeFailed, err)
	default:
		r.EndWell()
	}
}

// EndWell ends a call that has gone well, though perhaps nobody waits for its result any more.
func (r *Run) EndWell() {
	switch {
	case r == nil:
	case r.ctx.Err() != nil:
		r.End(metrics.OutcomeAbandoned, r.ctx.Err())
	default:
		r.End(metrics.OutcomeOK, nil)
	}
}
