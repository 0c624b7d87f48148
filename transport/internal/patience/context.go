package patience

import (
	"context"
	"errors"
	"math"
	"os"
	"time"
)

// NoWait returns a context for a single try, which itself never ends.
func NoWait() context.Context { return single }

// IsNoWait reports whether ctx is that of NoWait, or derived from it: nothing may wait under it,
// whatever else ends ctx.
func IsNoWait(ctx context.Context) bool {
	return ctx == single || ctx != background && ctx.Value(noWaitKey{}) != nil
}

// Never changed.
var (
	background                 = context.Background()
	single     context.Context = &noWait{background}
)

type (
	noWait    struct{ context.Context }
	noWaitKey struct{}
)

func (c *noWait) Value(key any) any {
	if _, ok := key.(noWaitKey); ok {
		return c
	}
	return nil
}

// Infinite is the time of what has no limit.
const Infinite = time.Duration(math.MaxInt64)

// Ended is the reason to give up before a call: nil while ctx lives.
func Ended(ctx context.Context) error {
	if ctx.Done() == nil {
		return nil
	}
	return ctx.Err()
}

// HasTime reports whether ctx has time left, so that a time-out now has another cause.
func HasTime(ctx context.Context) bool { return TimeLeft(ctx) > 0 }

// TimeLeft is the tmo for a FullImpl callback.
func TimeLeft(ctx context.Context) time.Duration {
	if IsNoWait(ctx) {
		return 0
	}
	d, ok := ctx.Deadline()
	if e, moves := ctx.(*until); moves {
		d, ok = e.deadline()
	}
	if !ok {
		return Infinite
	}
	return max(time.Until(d), 0)
}

// ByDeadline waits by means of wait, of a socket of package net, whose deadline ends it when ctx
// does. There is one call at a time.
func ByDeadline(ctx context.Context, set func(time.Time) error, wait func() error) error {
	if ctx.Done() == nil {
		return wait()
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = set(time.Unix(1, 0)); close(fired) })
	err := wait()
	if !stop() {
		<-fired
		_ = set(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
	}
	return err
}

// Expiry returns a channel that fires when tmo is over, at once if tmo is 0; stop must be called.
func Expiry(tmo time.Duration) (fires <-chan time.Time, stop func()) {
	if tmo == Infinite {
		return nil, func() {}
	}
	t := time.NewTimer(tmo)
	return t.C, func() { t.Stop() }
}
