package transport

import (
	"context"
	"time"
)

// NoWait returns a context for a single try: an operation given it succeeds if it is ready, else fails with os.ErrDeadlineExceeded. It
// corresponds to a tmo of 0 for a callback; in the C library's functions 0 means no limit. The context itself never ends: code that waits
// by itself must ask IsNoWait.
func NoWait() context.Context { return single }

// IsNoWait reports whether ctx is that of NoWait, or derived from it: nothing may wait under it, whatever
// else ends ctx.
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

// ended is the reason to give up before a call: nil while ctx lives.
func ended(ctx context.Context) error {
	if ctx.Done() == nil {
		return nil
	}
	return ctx.Err()
}

// hasTime reports whether ctx has time left, so that a time-out now has another cause.
func hasTime(ctx context.Context) bool { return timeLeft(ctx) > 0 }

// timeLeft is the tmo for a FullImpl callback.
func timeLeft(ctx context.Context) time.Duration {
	if IsNoWait(ctx) {
		return 0
	}
	d, ok := ctx.Deadline()
	if e, moves := ctx.(*epoch); moves {
		d, ok = e.deadline()
	}
	if !ok {
		return Infinite
	}
	return max(time.Until(d), 0)
}

// expiry returns a channel that fires when tmo is over, at once if tmo is 0; stop must be called.
func expiry(tmo time.Duration) (fires <-chan time.Time, stop func()) {
	if tmo == Infinite {
		return nil, func() {}
	}
	t := time.NewTimer(tmo)
	return t.C, func() { t.Stop() }
}
