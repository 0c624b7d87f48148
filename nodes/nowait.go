package nodes

import (
	"cmp"
	"context"
	"os"

	"github.com/cnode-go/cnode/transport"
)

// cancelled is closed when ctx ends; under transport.NoWait it is already.
func cancelled(ctx context.Context) <-chan struct{} {
	if !transport.IsNoWait(ctx) {
		return ctx.Done()
	}
	c := make(chan struct{})
	close(c)
	return c
}

// takesTime is the error of an operation under transport.NoWait that no single try can complete, for it waits for somebody's answer.
func takesTime(ctx context.Context) error {
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// ending is ctx, or one that has ended in the place of transport.NoWait: for what ends by force when the time is up.
func ending(ctx context.Context) (context.Context, context.CancelFunc) {
	if transport.IsNoWait(ctx) {
		return context.WithTimeout(ctx, 0)
	}
	return ctx, func() {}
}

// errOf is why nobody waits any more once cancelled is closed.
func errOf(ctx context.Context) error { return cmp.Or(ctx.Err(), os.ErrDeadlineExceeded) }
