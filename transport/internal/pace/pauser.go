package pace

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A Pauser lets one direction of a virtual socket wait until a given time, or until the socket
// ends.
type Pauser struct {
	once  sync.Once
	gone  chan struct{}   // closed when the socket ends
	Below <-chan struct{} // closed when the one below does; nil: never

	lifting sync.Once
	lifted  chan struct{} // closed when nothing needs to wait any more
}

// NewPauser makes one that has not ended.
func NewPauser() *Pauser { return &Pauser{gone: make(chan struct{}), lifted: make(chan struct{})} }

// End ends all waiting, for good.
func (p *Pauser) End() { p.once.Do(func() { close(p.gone) }) }

// Lift ends the wait in progress without an error, and all later ones.
func (p *Pauser) Lift() { p.lifting.Do(func() { close(p.lifted) }) }

// IsLifted reports whether Lift has been called.
func (p *Pauser) IsLifted() bool {
	select {
	case <-p.lifted:
		return true
	default:
		return false
	}
}

// Until waits until moment. Under NoWait it does not wait, but fails with a time-out.
func (p *Pauser) Until(ctx context.Context, moment time.Time) error {
	left := time.Until(moment)
	if left <= 0 || p.IsLifted() {
		return nil
	}
	if patience.IsNoWait(ctx) {
		return os.ErrDeadlineExceeded
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.lifted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.gone:
		return net.ErrClosed
	case <-p.Below:
		return net.ErrClosed
	}
}
