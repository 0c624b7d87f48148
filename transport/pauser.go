package transport

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// A pauser lets one direction of a carrier wait until a given time, or until the carrier is closed.
type pauser struct {
	once   sync.Once
	gone   chan struct{} // closed when Close begins
	halted chan struct{} // takes a token when the wait in progress is to end

	lifting sync.Once
	lifted  chan struct{} // closed when nothing needs to wait any more
}

func newPauser() *pauser {
	return &pauser{gone: make(chan struct{}), halted: make(chan struct{}), lifted: make(chan struct{})}
}

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

// halt ends the wait in progress, if there is one, with a time-out.
func (p *pauser) halt() {
	select {
	case p.halted <- struct{}{}:
	default:
	}
}

// until waits until moment. Under NoWait it does not wait, but fails with a time-out.
func (p *pauser) until(ctx context.Context, moment time.Time) error {
	left := time.Until(moment)
	if left <= 0 || p.isLifted() {
		return nil
	}
	if IsNoWait(ctx) {
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
	case <-p.halted:
		return os.ErrDeadlineExceeded
	}
}
