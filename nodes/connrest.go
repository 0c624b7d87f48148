package nodes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// freezeBudget is how long a connection may take to come to rest. If a plug-in's callback does not
// return in that time, the connection stays here.
const freezeBudget = 2 * time.Second

// A connection is frozen in two steps: its reader halts between two messages, then everything else
// does. Between the two steps it can still send what running handlers have to say. An error that
// ends the connection takes effect only when it is thawed: a frozen connection may belong to
// another process already.

// stopReading stops the reader between two messages, and takes its token.
func (c *Conn) stopReading(ctx context.Context) error {
	if !c.rd.stopped.Shut() {
		return handoff.ErrBusy
	}
	c.endPassing()
	err := c.s.PauseRead(ctx)
	if err == nil {
		select {
		case c.rd.busy <- struct{}{}:
			return nil
		case <-c.done:
			err = c.Err()
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.s.Resume()
	}
	c.rd.stopped.Open()
	return err
}

// resumeReading undoes stopReading.
func (c *Conn) resumeReading() {
	c.s.Resume()
	<-c.rd.busy
	c.rd.stopped.Open()
}

// suspend stops everything but the reader, which has halted: ticks, writes, and the end of the
// connection. barrier, if it is not nil, waits for goroutines that are just changing a process and
// sending the signal about the change, which is one step.
func (c *Conn) suspend(ctx context.Context, barrier func()) error {
	c.mu.Lock()
	err := c.err
	if err == nil {
		c.suspended = true
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.frozen.Shut()
	if barrier != nil {
		barrier()
	}
	if err = c.holdExitQueue(ctx); err == nil {
		err = c.ticks.hold(ctx)
	}
	if err == nil {
		err = c.q.Hold(ctx)
	}
	if err != nil {
		c.unsuspend()
	}
	return err
}

// unsuspend undoes rest. If an error was to end the connection meanwhile, it ends now.
func (c *Conn) unsuspend() {
	c.q.Unhold()
	c.ticks.unhold(c)
	c.letExitQueue()
	c.frozen.Open()
	c.mu.Lock()
	ailment := c.pendingErr
	c.suspended, c.pendingErr = false, nil
	c.mu.Unlock()
	if ailment != nil {
		c.fail(ailment)
	}
}

// release is giveUp of a connection that was this process's.
func (c *Conn) release(forget bool) error {
	c.n.log.Info("connection moved", "peer", c.peer.Name)
	return wrap("release connection to", c.peer.Name, c.giveUp(forget))
}

// giveUp ends a connection that stands still in this process, without a byte on it: another process
// has it. With forget, processes here lose their links and monitors with the peer's, which have
// moved along.
func (c *Conn) giveUp(forget bool) error {
	c.mu.Lock()
	c.err = ErrMoved
	close(c.done)
	c.suspended, c.pendingErr = false, nil
	c.mu.Unlock()
	c.ticks.end()
	err := c.s.Release()
	c.q.End(ErrMoved)
	c.dropExitQueue()
	c.frozen.Open()
	if forget {
		for _, b := range c.n.procs.all() {
			b.forget(c)
		}
	}
	c.n.leave(c, forget)
	close(c.left)
	<-c.rd.busy
	c.rd.stopped.Open()
	return err
}

// movable is nil if the connection can be handed over; else the error names its plug-in.
func (c *Conn) movable() error {
	return movable(c.tr, c.s.Descriptor)
}

// errWorkers: the connection's ways to other workers would have to move with it.
var errWorkers = fmt.Errorf("a node with workers moves by Front.Freeze and Front.UpgradeWorkers only: %w", errors.ErrUnsupported)
