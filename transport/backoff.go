package transport

import (
	"context"
	"time"
)

// A backoff pauses between tries of what the system cannot do just now: 5 ms, doubled up to 1 s.
type backoff struct{ pause time.Duration }

// wait makes a pause, and reports false if ctx ends before. closed or halted cuts the pause short.
func (b *backoff) wait(ctx context.Context, closed, halted <-chan struct{}) bool {
	if IsNoWait(ctx) {
		return false
	}
	b.pause = min(max(2*b.pause, 5*time.Millisecond), time.Second)
	t := time.NewTimer(b.pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-closed:
	case <-halted:
	case <-t.C:
	}
	return true
}
