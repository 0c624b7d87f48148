package transport

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// NoWait returns a context for a single try: an operation given it succeeds if it is ready, else
// fails with os.ErrDeadlineExceeded. It corresponds to a tmo of 0 for a callback; in the C
// library's functions 0 means no limit. The context itself never ends: code that waits by itself
// must ask IsNoWait.
func NoWait() context.Context { return await.NoWait() }

// IsNoWait reports whether ctx is that of NoWait, or derived from it: nothing may wait under it,
// whatever else ends ctx.
func IsNoWait(ctx context.Context) bool { return await.IsNoWait(ctx) }

// ended is the reason to give up before a call: nil while ctx lives.
func ended(ctx context.Context) error { return await.Ended(ctx) }

const (
	// DefaultPolling is how long a reader polls before it sleeps, when messages have lately come
	// within that time.
	DefaultPolling = 60 * time.Microsecond
	// MaxPolling is the highest limit of polling: Close, and the end of a context, may have to wait
	// for four times the limit.
	MaxPolling = time.Millisecond
)

// WithPolling returns tr with limit as its limit of adaptive polling, in place of DefaultPolling; 0
// turns polling off, and a limit above MaxPolling counts as MaxPolling. It corresponds to the
// BEAM's +sbwt: a reader whose peer has lately answered within the limit tries again and again for
// that long before it sleeps, which is quicker than to be woken and costs processor time. Idle
// connections cost nothing, one processor is always left to others, and nobody polls while other
// programs compute on all of them.
//
// It is for Linux, and for plug-ins for which the SDK does the waiting. A wrapper that has a method
// WithPolling(time.Duration) Transport, as those of package transport/virtual do, returns one with
// that limit below it. Any other tr is returned unchanged: wrap what WithPolling returns. Streams
// that come without a Transport (ConnectTCP, ConnectUnix, UnixPair, tsocket.AdoptStream) have
// DefaultPolling.
func WithPolling(tr Transport, limit time.Duration) Transport {
	if p, ok := tr.(interface {
		WithPolling(time.Duration) Transport
	}); ok && await.CanPoll {
		return p.WithPolling(min(max(limit, 0), MaxPolling))
	}
	return tr
}
