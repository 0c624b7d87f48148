package nodes

import (
	"cmp"
	"context"
	"os"
)

// isSingle tells transport.NoWait, and what is derived from it: such a context never ends, and nobody waits under it.
func isSingle(ctx context.Context) bool {
	until, ok := ctx.Deadline()
	return ok && until.IsZero()
}

// cancelled is closed when ctx ends; under transport.NoWait it is already.
func cancelled(ctx context.Context) <-chan struct{} {
	if !isSingle(ctx) {
		return ctx.Done()
	}
	c := make(chan struct{})
	close(c)
	return c
}

// errOf is why nobody waits any more once cancelled is closed.
func errOf(ctx context.Context) error { return cmp.Or(ctx.Err(), os.ErrDeadlineExceeded) }
