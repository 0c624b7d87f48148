package crew

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/transport/handoff"
)

// How the crew moves with its front to another process. The workers notice nothing.

// Occupy reserves the crew for one upgrade or move at a time, until Vacate.
func (c *Crew) Occupy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx.Err() != nil:
		return c.cfg.Closed
	case c.busy:
		return fmt.Errorf("the front or its workers: %w", handoff.ErrBusy)
	}
	c.busy = true
	return nil
}

// Vacate ends Occupy.
func (c *Crew) Vacate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}

// AwaitThaw waits while the crew is frozen.
func (c *Crew) AwaitThaw(ctx context.Context) error { return c.still.Pass(ctx) }

// Freeze stops the crew, which is occupied: no worker joins, and nothing is said. The end is Thaw,
// also after an error, or Release.
func (c *Crew) Freeze(ctx context.Context) error {
	select {
	case c.hiring <- struct{}{}: // no worker joins
		c.hires = true
	case <-ctx.Done():
		return fmt.Errorf("a worker is being started: %w", ctx.Err())
	}
	return c.pauseLines(ctx)
}

// pauseLines stops the lines to all workers, in both directions. The workers that are then in the
// crew stay there, with their descriptors, until the lines go on: if the line of a worker has ended
// just now, pauseLines waits until that worker is off the crew.
func (c *Crew) pauseLines(ctx context.Context) error {
	c.mu.Lock()
	c.still.Shut()
	crew := c.bySlot()
	c.mu.Unlock()
	for _, w := range crew {
		err := w.line.Pause(ctx)
		if err == nil {
			err = w.line.Hold(ctx)
		}
		if err == nil && w.line.Ends() {
			select {
			case <-w.lost:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if err != nil {
			return fmt.Errorf("worker of slot %d: %w", w.slot, err)
		}
	}
	return nil
}

// Thaw lets the crew go on here, and vacates it.
func (c *Crew) Thaw() {
	c.mu.Lock()
	for _, w := range c.workers {
		w.line.Resume()
	}
	c.still.Open()
	if c.hires {
		c.hires = false
		<-c.hiring
	}
	c.busy = false
	c.mu.Unlock()
}

// Release ends the crew in this process: another one has it. It also ends the node here, by node,
// once the lines are closed.
func (c *Crew) Release(node func() error) error {
	c.mu.Lock()
	c.released = true
	c.end()
	for _, w := range c.workers {
		w.line.Close()
	}
	c.mu.Unlock()
	err := node()
	c.still.Open()
	c.wg.Wait()
	c.nameTable.Close()
	return err
}

// Resume lets a restored crew go on, and vacates it.
func (c *Crew) Resume() {
	c.mu.Lock()
	manned := map[int]*Worker{}
	for _, w := range c.workers {
		manned[w.slot] = w
		for _, list := range w.untaken {
			for _, s := range list {
				w.awaitTaken(s)
			}
		}
	}
	c.still.Open()
	c.busy = false
	for _, w := range manned {
		w.proc.Watch()
		c.wg.Go(w.attend)
		w.line.Resume()
	}
	c.mu.Unlock()
	for slot := range c.cfg.Count {
		c.wg.Go(func() { c.keepSlot(context.Background(), slot, nil, manned[slot]) })
	}
}

// Discard gives a restored crew up: it belongs to the other process. It gives the node up by node,
// before the lines are closed.
func (c *Crew) Discard(node func() error) error {
	c.end()
	err := node()
	for _, w := range c.workers {
		w.line.Close()
		<-w.line.Wrote()
		w.proc.Release()
		for _, list := range w.untaken {
			for _, s := range list {
				if !s.withdrawn {
					err = errors.Join(err, s.s.Release())
				}
			}
		}
		if w.forward != nil {
			_ = w.forward.Close()
		}
	}
	c.mu.Lock()
	clear(c.workers) // they are the other process's: a Close does not end them
	c.mu.Unlock()
	c.nameTable.Close()
	c.still.Open()
	return err
}

// Descriptors counts, about, those that a frozen crew has.
func (c *Crew) Descriptors() int { return 2 * len(c.Workers()) }
