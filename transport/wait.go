package transport

import (
	"context"
	"time"
)

// NoWait returns a context for a single try: an operation given it succeeds if it is ready, else fails with
// os.ErrDeadlineExceeded. It is the tmo 0 of a callback; 0 of the C library's functions means no limit. The context itself never ends: who
// waits by himself asks IsNoWait.
func NoWait() context.Context { return single }

// Briefly returns a context like NoWait, but for a read that may wait where that costs nobody anything: the first reads of a connection, on
// Linux and for a millisecond at most, in a system call of their own (see WithPolling). It is for who has something else to do when
// the answer is not there at once. IsNoWait tells it, too.
func Briefly() context.Context { return brief }

// IsNoWait tells NoWait, and what is derived from it: nobody is to wait under such a context, whatever else ends it.
func IsNoWait(ctx context.Context) bool {
	return ctx == single || ctx != background && ctx.Value(noWaitKey{}) != nil
}

// Never changed.
var (
	background                 = context.Background()
	single     context.Context = &noWait{background}
	brief      context.Context = &noWait{background}
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

// hasTime tells whether a time-out now is not ctx's.
func hasTime(ctx context.Context) bool {
	if IsNoWait(ctx) {
		return false
	}
	d, ok := ctx.Deadline()
	return !ok || time.Until(d) > 0
}

// timeLeft is the tmo for a FullImpl callback.
func timeLeft(ctx context.Context) time.Duration {
	if IsNoWait(ctx) {
		return 0
	}
	d, ok := ctx.Deadline()
	if !ok {
		return Infinite
	}
	return max(time.Until(d), 0)
}

// expiry is a channel that fires when tmo is over; stop must be called. A tmo of 0 has fired already.
func expiry(tmo time.Duration) (fires <-chan time.Time, stop func()) {
	if tmo == Infinite {
		return nil, func() {}
	}
	t := time.NewTimer(tmo)
	return t.C, func() { t.Stop() }
}
