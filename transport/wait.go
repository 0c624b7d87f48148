package transport

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// NoWait returns a context for a single try: an operation given it succeeds if it is ready, else
// fails with os.ErrDeadlineExceeded. It corresponds to a tmo of 0 for a callback; in the C
// library's functions 0 means no limit. The context itself never ends: code that waits by itself
// must ask IsNoWait.
func NoWait() context.Context { return patience.NoWait() }

// IsNoWait reports whether ctx is that of NoWait, or derived from it: nothing may wait under it,
// whatever else ends ctx.
func IsNoWait(ctx context.Context) bool { return patience.IsNoWait(ctx) }

// ended is the reason to give up before a call: nil while ctx lives.
func ended(ctx context.Context) error { return patience.Ended(ctx) }

const (
	// DefaultPolling is how long a reader naps, or tries again, before it sleeps: see WithPolling.
	DefaultPolling = 60 * time.Microsecond
	// MaxPolling is the longest such time: Close, and the end of a context, may have to wait for it.
	MaxPolling = time.Millisecond
)

// WithPolling returns tr with limit in place of DefaultPolling; 0 turns it off, and a limit above
// MaxPolling counts as MaxPolling. For that long a reader does something else than to sleep until
// the next byte comes, where that has lately brought more bytes. Where small messages come one way
// it naps and takes all that has come meanwhile at once, and flows that become faster for it gather
// for milliseconds: the peer is spared the work of waking it for each. Inside of something large,
// whose rest is on its way, it looks again and again. For an answer a reader always sleeps, and so
// does a writer until there is room. Idle connections cost nothing, and one processor is always
// left to others.
//
// It is for Linux, and for plug-ins for which the SDK does the waiting. A wrapper that has a method
// WithPolling(time.Duration) Transport, as those of package transport/virtual do, returns one with
// that limit below it. Any other tr is returned unchanged: wrap what WithPolling returns. Streams
// that come without a Transport (ConnectTCP, ConnectUnix, UnixPair, AdoptStream) have
// DefaultPolling.
func WithPolling(tr Transport, limit time.Duration) Transport {
	if p, ok := tr.(interface {
		WithPolling(time.Duration) Transport
	}); ok && await.CanPoll {
		return p.WithPolling(min(max(limit, 0), MaxPolling))
	}
	return tr
}
