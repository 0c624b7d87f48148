package nodes

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A FrozenFront is a front that stands still: it accepts no connections, and neither reads nor
// sends messages on the lines to its workers. The workers and all connections go on meanwhile. It
// belongs to this process until Release; after Thaw it goes on as if nothing had happened. One of
// the two must be called.
type FrozenFront struct {
	f     *Front
	node  *Frozen
	state []byte
	hires bool // it holds the token of the front's hiring
	over  atomic.Bool
}

// Freeze stops the front, to hand it to another process: see RestoreFront. The listener stays open,
// and connections arrive in its backlog; handshakes that have not reached a worker are waited for
// briefly, and cut off when the front is released. Whatever fails, the front goes on as before. The
// error is handoff.ErrBusy while its workers are being upgraded, ErrClosed once it is being shut
// down.
func (f *Front) Freeze(ctx context.Context) (*FrozenFront, error) {
	e, err := f.freeze(ctx)
	return e, wrap("freeze front", f.Name(), err)
}

func (f *Front) freeze(ctx context.Context) (*FrozenFront, error) {
	if err := f.occupy(); err != nil {
		return nil, err
	}
	e := &FrozenFront{f: f}
	err := e.freeze(ctx)
	if err != nil {
		e.Thaw()
		return nil, err
	}
	return e, nil
}

// occupy reserves the front for one upgrade or move at a time, until vacate.
func (f *Front) occupy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ctx.Err() != nil:
		return ErrClosed
	case f.busy:
		return fmt.Errorf("the front or its workers: %w", handoff.ErrBusy)
	}
	f.busy = true
	return nil
}

func (f *Front) vacate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
}

func (e *FrozenFront) freeze(ctx context.Context) (err error) {
	f := e.f
	if e.node, err = f.n.freeze(ctx, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, freezeBudget)
	defer cancel()
	select {
	case f.hiring <- struct{}{}: // no worker joins
		e.hires = true
	case <-ctx.Done():
		return fmt.Errorf("a worker is being started: %w", ctx.Err())
	}
	if err = f.pauseLines(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return e.snapshot(ctx)
}

// pauseLines stops the lines to all workers, in both directions. The workers that are then in the
// crew stay there, with their descriptors, until the lines go on: if the line of a worker has ended
// just now, pauseLines waits until that worker is off the crew.
func (f *Front) pauseLines(ctx context.Context) error {
	f.mu.Lock()
	f.still.Shut()
	crew := f.bySlot()
	f.mu.Unlock()
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

// State is what another process needs, beside the descriptors, to go on as this front. What
// plug-ins have put into it is cleared by Thaw and Release.
func (e *FrozenFront) State() []byte { return e.state }

// Descriptors are those of the node, and of what the workers share with the front, in the order
// that the state relies on. They still belong to the front: pass them on before Thaw or Release.
func (e *FrozenFront) Descriptors() []int { return e.node.Descriptors() }

// Thaw lets the front go on here.
func (e *FrozenFront) Thaw() {
	if !e.over.CompareAndSwap(false, true) {
		return
	}
	f := e.f
	f.mu.Lock()
	for _, w := range f.crew {
		w.line.Resume()
	}
	f.still.Open()
	f.busy = false
	f.mu.Unlock()
	if e.hires {
		<-f.hiring
	}
	if e.node != nil {
		e.node.Thaw()
	}
	clearKeys(e.state)
}

// Release ends the front in this process: the other one has it. No worker notices. It returns when
// the front's goroutines have ended. An error says what could not be freed here, as that of
// Frozen.Release; the front is the other process's all the same. After Thaw, and when called again,
// Release does nothing.
func (e *FrozenFront) Release() error {
	if !e.over.CompareAndSwap(false, true) {
		return nil
	}
	f := e.f
	f.mu.Lock()
	f.released = true
	f.end()
	for _, w := range f.crew {
		w.line.Close()
	}
	f.mu.Unlock()
	err := e.node.Release()
	f.still.Open()
	f.wg.Wait()
	f.nameTable.Close()
	clearKeys(e.state)
	return wrap("release front", f.Name(), err)
}

// Offer is to a front what Node.Offer is to a node; the other side's Stage calls RestoreFront. The
// workers stay where they are.
func (f *Front) Offer() *handoff.Offer {
	o := f.n.Offer()
	o.Count = f.descriptors
	o.Freeze = func(ctx context.Context) (handoff.Frozen, error) { return f.Freeze(ctx) }
	return o
}

// descriptors counts those of the front's node and of the workers' lines.
func (f *Front) descriptors() int {
	f.mu.Lock()
	workers := len(f.crew)
	f.mu.Unlock()
	return f.n.descriptors() + 2*workers
}
