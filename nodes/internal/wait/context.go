package wait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// Cancelled is closed when ctx ends; under transport.NoWait it is closed already.
func Cancelled(ctx context.Context) <-chan struct{} {
	if !transport.IsNoWait(ctx) {
		return ctx.Done()
	}
	c := make(chan struct{})
	close(c)
	return c
}

// TakesTime is the error, under transport.NoWait, of an operation that a single try cannot
// complete, since it has to wait for an answer.
func TakesTime(ctx context.Context) error {
	if transport.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Ending is ctx, or a context that has ended in place of transport.NoWait, for operations that
// resort to force when the time is up.
func Ending(ctx context.Context) context.Context {
	if !transport.IsNoWait(ctx) {
		return ctx
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return timedOut{ended}
}

// A timedOut context has ended as a wait under transport.NoWait does.
type timedOut struct{ context.Context }

func (timedOut) Err() error { return os.ErrDeadlineExceeded }

// Err is the error of a wait that has ended because Cancelled is closed.
func Err(ctx context.Context) error { return cmp.Or(ctx.Err(), os.ErrDeadlineExceeded) }

// For waits until a change has come, or ctx ends.
func For(ctx context.Context, change <-chan struct{}) error {
	select {
	case <-change:
		return nil
	case <-Cancelled(ctx):
		return Err(ctx)
	}
}

// Sleep waits for some time; if ctx ends first, the error is ctx's.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Because is the cause for which ctx has ended, and err with it if that says anything else.
func Because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return cause
	case errors.Is(err, cause):
		return err
	}
	return fmt.Errorf("%w (%w)", cause, err)
}

// EndedBy adds ctx's error to err if that is the cause which whoever ended ctx has given: callers
// ask for context.Canceled.
func EndedBy(ctx context.Context, err *error) {
	if ended := ctx.Err(); ended != nil && errors.Is(*err, context.Cause(ctx)) && !errors.Is(*err, ended) {
		*err = fmt.Errorf("%w: %w", ended, *err)
	}
}
