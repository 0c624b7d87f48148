package transport

import (
	"context"

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
