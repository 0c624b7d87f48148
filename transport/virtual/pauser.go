package virtual

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A pauser lets one direction of a virtual socket wait until a given time, or until the socket
// ends.
type pauser struct {
	once  sync.Once
	gone  chan struct{}   // closed when the socket ends
	below <-chan struct{} // closed when the one below does; nil: never

	lifting sync.Once
	lifted  chan struct{} // closed when nothing needs to wait any more
}

func newPauser() *pauser { return &pauser{gone: make(chan struct{}), lifted: make(chan struct{})} }

// end ends all waiting, for good.
func (p *pauser) end() { p.once.Do(func() { close(p.gone) }) }

// lift ends the wait in progress without an error, and all later ones.
func (p *pauser) lift() { p.lifting.Do(func() { close(p.lifted) }) }

func (p *pauser) isLifted() bool {
	select {
	case <-p.lifted:
		return true
	default:
		return false
	}
}

// until waits until moment. Under NoWait it does not wait, but fails with a time-out.
func (p *pauser) until(ctx context.Context, moment time.Time) error {
	left := time.Until(moment)
	if left <= 0 || p.isLifted() {
		return nil
	}
	if transport.IsNoWait(ctx) {
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
	case <-p.below:
		return net.ErrClosed
	}
}
