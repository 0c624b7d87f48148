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

// errOf is why nobody waits any more once cancelled is closed.
func errOf(ctx context.Context) error { return cmp.Or(ctx.Err(), os.ErrDeadlineExceeded) }
