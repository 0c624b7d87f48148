package nodes

import (
	"context"
	"time"
)

// sleep waits for some time; if ctx ends first, the error is its.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
