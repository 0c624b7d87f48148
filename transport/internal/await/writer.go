package await

import (
	"context"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A Writer is how the writer of a descriptor waits for room. Only the writer uses it.
type Writer struct{ side }

// Do calls try whenever there may be room, as Reader.Do does.
func (w *Writer) Do(ctx context.Context, try func() bool) error {
	w.try = try
	w.begin(patience.IsNoWait(ctx))
	err := w.do(ctx, w.readyFn)
	w.end()
	w.try = nil
	return err
}

// end is called after a write. If the writer has waited, the Go poller looks away: over a UNIX
// socket it would wake up whenever the peer reads.
func (w *Writer) end() {
	if _, did := w.waited(); did {
		w.wait.lookAway(true)
	}
}
