package workers

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A Frozen is a front that stands still: it accepts no connections, and neither reads nor sends
// messages on the lines to its workers. The workers and all connections go on meanwhile. It belongs
// to this process until Release; after Thaw it goes on as if nothing had happened. One of the two
// must be called.
type Frozen struct {
	f     *Front
	node  *nodes.Frozen
	state []byte
	over  atomic.Bool
}

// Freeze stops the front, to hand it to another process: see Restore. The listener stays open, and
// connections arrive in its backlog; handshakes that have not reached a worker are waited for
// briefly, and cut off when the front is released. Whatever fails, the front goes on as before. The
// error is handoff.ErrBusy while its workers are being upgraded, nodes.ErrClosed once it is being
// shut down.
func (f *Front) Freeze(ctx context.Context) (*Frozen, error) {
	e, err := f.freeze(ctx)
	return e, wrap("freeze front", f.Name(), err)
}

func (f *Front) freeze(ctx context.Context) (*Frozen, error) {
	if err := f.crew.Occupy(); err != nil {
		return nil, err
	}
	e := &Frozen{f: f}
	err := e.freeze(ctx)
	if err != nil {
		e.Thaw()
		return nil, err
	}
	return e, nil
}

func (e *Frozen) freeze(ctx context.Context) (err error) {
	f := e.f
	if e.node, err = f.n.Still(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.n.FreezeTime)
	defer cancel()
	if err = f.crew.Freeze(ctx); err != nil {
		return err
	}
	s := states.Front{Node: e.node.State(), Descriptors: len(e.node.Descriptors()), Arrivals: f.n.Arrivals.Load()}
	if err = f.crew.Describe(f.n.TableOf(e.node), &s); err != nil {
		return err
	}
	e.state, err = form.Write(ctx.Err, states.KindFront, &s)
	return err
}

// State is what another process needs, beside the descriptors, to go on as this front. What
// plug-ins have put into it is cleared by Thaw and Release.
func (e *Frozen) State() []byte { return e.state }

// Descriptors are those of the node, and of what the workers share with the front, in the order
// that the state relies on. They still belong to the front: pass them on before Thaw or Release.
func (e *Frozen) Descriptors() []int { return e.node.Descriptors() }

// Thaw lets the front go on here.
func (e *Frozen) Thaw() {
	if !e.over.CompareAndSwap(false, true) {
		return
	}
	e.f.crew.Thaw()
	if e.node != nil {
		e.node.Thaw()
	}
	e.f.n.ClearKeys(e.state)
}

// Release ends the front in this process: the other one has it. No worker notices. It returns when
// the front's goroutines have ended. An error says what could not be freed here, as that of
// nodes.Frozen.Release; the front is the other process's all the same. After Thaw, and when called
// again, Release does nothing.
func (e *Frozen) Release() error {
	if !e.over.CompareAndSwap(false, true) {
		return nil
	}
	err := e.f.crew.Release(e.node.Release)
	e.f.n.ClearKeys(e.state)
	return wrap("release front", e.f.Name(), err)
}

// Offer is to a front what Node.Offer is to a node; the other side's Stage calls Restore. The
// workers stay where they are.
func (f *Front) Offer() *handoff.Offer {
	o := f.n.Offer()
	o.Count = func() int { return f.n.Descriptors() + f.crew.Descriptors() }
	o.Freeze = func(ctx context.Context) (handoff.Frozen, error) { return f.Freeze(ctx) }
	return o
}

// A Staged is a front that another process has frozen, ready to go on in this one. It has read,
// written and said nothing. Start or Discard must be called.
type Staged struct {
	f     *Front
	node  *nodes.Staged
	state states.Front
	over  atomic.Bool
}

// Restore makes a front from what Frozen has given in another process: its state, and duplicates of
// its descriptors, in the same order. Restore owns the descriptors from the call on. cfg is as for
// Start; if cfg.Node has a name, this must be the state's. There may be more workers than before,
// but not fewer. The workers' processes stay the same, and are not children of this one:
// UpgradeWorkers replaces them. On failure Restore closes the descriptors. The errors are
// ErrIsWorker in a process that is a worker, and those of nodes.Restore; others are about cfg, or
// the system's.
func Restore(cfg Config, state []byte, descriptors []int) (*Staged, error) {
	list := descriptor.Own(descriptors)
	g, err := restoreFront(cfg, state, list)
	if err != nil {
		return nil, wrap("restore front", "", errors.Join(err, list.Close()))
	}
	return g, nil
}

func restoreFront(cfg Config, state []byte, list *descriptor.List) (*Staged, error) {
	g := &Staged{}
	s := &g.state
	if err := form.Read(states.KindFront, state, s); err != nil {
		return nil, err
	}
	f, err := newFront(cfg)
	if err != nil {
		return nil, err
	}
	g.f = f
	node, err := list.TakeFirst(s.Descriptors)
	if err != nil {
		return nil, err
	}
	staged, ns, err := stageNode(f.cfg.Node, s.Node)
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	g.node = staged
	f.join(insideOf(staged.Node()))
	f.n.Arrivals.Store(s.Arrivals)
	if err := f.n.Fill(staged, ns, node); err != nil {
		return nil, errors.Join(err, staged.Discard(), node.Close())
	}
	listeners := f.n.Listeners()
	if len(listeners) == 0 {
		err = form.At("listener", fmt.Errorf("%w: a front has one, and this one none", nodes.ErrState))
	} else {
		err = f.listens(listeners)
	}
	if err == nil {
		err = f.crew.Restore(s, list)
	}
	if err == nil {
		err = list.AllTaken()
	}
	if err != nil {
		return nil, errors.Join(err, g.Discard())
	}
	for _, l := range listeners {
		if f.n.Accepts(l) {
			f.serve(l)
		}
	}
	return g, nil
}

// Front is the front. Until Start it does nothing.
func (g *Staged) Front() *Front { return g.f }

// Start lets the front go on. Its error is that of nodes.Staged.Start: the front runs all the same.
func (g *Staged) Start(ctx context.Context) error {
	if !g.over.CompareAndSwap(false, true) {
		return wrap("start front", g.f.Name(), nodes.ErrStarted)
	}
	for _, w := range g.state.Crew {
		clearMessages(w.Unsent)
	}
	g.f.crew.Resume()
	return g.node.Start(ctx)
}

// Discard gives the front up: it belongs to the other process. It waits, and errs, as
// nodes.Staged.Discard does; its descriptors are closed all the same. After Start, and when called
// again, Discard does nothing.
func (g *Staged) Discard() error {
	if !g.over.CompareAndSwap(false, true) {
		return nil
	}
	err := g.f.crew.Discard(g.node.Discard)
	return wrap("discard front", g.f.Name(), err)
}
