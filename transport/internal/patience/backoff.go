package patience

import (
	"context"
	"os"
	"time"
)

// A Backoff pauses between tries of what the system cannot do just now: first for a time, then
// always for twice as long, up to most.
type Backoff struct{ First, Most, pause time.Duration }

// Wait makes a pause. It fails under NoWait, or if ctx ends before the pause does. closed or
// halted, which may be nil, cut the pause short.
func (b *Backoff) Wait(ctx context.Context, closed, halted <-chan struct{}) error {
	if IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	b.pause = min(max(2*b.pause, b.First), b.Most)
	t := time.NewTimer(b.pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-closed:
	case <-halted:
	case <-t.C:
	}
	return nil
}
