package transport

import (
	"context"
	"os"
	"time"
)

// A backoff pauses between tries of what the system cannot do just now: first for a time, then always for twice as long, up to most.
type backoff struct{ first, most, pause time.Duration }

// wait makes a pause. It fails under NoWait, or if ctx ends before the pause does. closed or halted, which may be nil, cut the pause short.
func (b *backoff) wait(ctx context.Context, closed, halted <-chan struct{}) error {
	if IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	b.pause = min(max(2*b.pause, b.first), b.most)
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
