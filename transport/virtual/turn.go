package virtual

import (
	"context"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A turn gives the calls of one direction a context each, and ends the one in flight.
type turn struct {
	mu     sync.Mutex
	ctx    context.Context // of calls without a limit; nil: the next one makes it
	cancel context.CancelFunc
}

// begin is called by each call. An interrupt that came before does not end it.
func (t *turn) begin(tmo time.Duration) (ctx context.Context, end func()) {
	if tmo == 0 {
		return transport.NoWait(), func() {}
	}
	t.mu.Lock()
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancel(context.Background())
	}
	ctx = t.ctx
	t.mu.Unlock()
	if tmo == transport.Infinite {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, tmo)
}

// interrupt ends the call in flight.
func (t *turn) interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel != nil {
		t.cancel()
		t.ctx, t.cancel = nil, nil
	}
}
