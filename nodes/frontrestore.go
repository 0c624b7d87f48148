package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/process"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A StagedFront is a front that another process has frozen, ready to go on in this one. It has
// read, written and said nothing. Start or Discard must be called.
type StagedFront struct {
	f     *Front
	node  *Staged
	waits [][]states.LineMessage // what was to be said, in the state
	over  atomic.Bool
}

// RestoreFront makes a front from what FrozenFront has given in another process: its state, and
// duplicates of its descriptors, in the same order. RestoreFront owns the descriptors from the call
// on. cfg is as for StartFront; if cfg.Node has a name, this must be the state's. There may be more
// workers than before, but not fewer. The workers' processes stay the same, and are not children of
// this one: UpgradeWorkers replaces them. On failure RestoreFront closes the descriptors. The
// errors are ErrIsWorker in a process that is a worker, and those of Restore; others are about cfg,
// or the system's.
func RestoreFront(cfg FrontConfig, state []byte, descriptors []int) (*StagedFront, error) {
	list := ownDescriptors(descriptors)
	g, err := restoreFront(cfg, state, list)
	if err != nil {
		return nil, wrap("restore front", "", errors.Join(err, list.close()))
	}
	return g, nil
}

func restoreFront(cfg FrontConfig, state []byte, list *descriptorList) (*StagedFront, error) {
	var s states.Front
	if err := readState(states.KindFront, state, &s); err != nil {
		return nil, err
	}
	f, err := newFront(cfg)
	if err != nil {
		return nil, err
	}
	node, err := list.takeFirst(s.Descriptors)
	if err != nil {
		return nil, err
	}
	f.still.Shut()
	f.busy = true
	f.lastPart = s.LastPart
	g := &StagedFront{f: f}
	first := func(n *Node) error {
		f.n, n.taker = n, f
		n.arrivals.Store(s.Arrivals)
		return nil
	}
	g.node, err = restore(f.cfg.Node, s.Node, node, successor{first: first, setup: func(*Node) error { return nil }})
	if err != nil {
		f.end()
		return nil, errors.Join(err, node.close())
	}
	if err = g.fill(&s, list); err == nil {
		err = list.allTaken()
	}
	if err != nil {
		return nil, errors.Join(err, g.Discard())
	}
	return g, nil
}

// fill restores what the front has besides the node.
func (g *StagedFront) fill(s *states.Front, list *descriptorList) error {
	f := g.f
	if len(g.node.listeners) == 0 {
		return &StateError{"listener", fmt.Errorf("%w: a front has one, and this one none", ErrState)}
	}
	if err := f.listens(g.node.listeners); err != nil {
		return err
	}
	for i := range s.Crew {
		g.waits = append(g.waits, s.Crew[i].Unsent)
		if err := g.worker(&s.Crew[i], list); err != nil {
			return err
		}
	}
	for _, r := range s.Routes {
		if r.At == 0 || f.crew[r.At] == nil {
			return &StateError{"route to " + r.Peer, ErrState}
		}
		route := &route{held: map[*workerProcess]int{}, at: f.crew[r.At], proven: r.Proven}
		for _, h := range r.Held {
			if f.crew[h.Part] == nil || h.Count < 1 {
				return &StateError{"route to " + r.Peer, ErrState}
			}
			route.held[f.crew[h.Part]] = h.Count
		}
		f.routes[r.Peer] = route
	}
	var err error
	if f.nameTable, err = list.takeNameTable(s.NameTable); err != nil {
		return err
	}
	note := func(name string) error { f.nameTable.Recall(name); return nil }
	if f.nameTable == nil { // workers that join from now on have it
		f.makeNameTable()
		note = f.nameTable.Enter
	}
	for _, t := range s.Names {
		if f.crew[t.Part] == nil {
			return &StateError{"name " + t.Name, ErrState}
		}
		f.names[t.Name] = tenancy{f.crew[t.Part], t.Number}
		if err := note(t.Name); err != nil {
			return err
		}
	}
	return nil
}

// worker stages one worker.
func (g *StagedFront) worker(s *states.Crewman, list *descriptorList) error {
	f := g.f
	bad := func(err error) error { return &StateError{fmt.Sprintf("worker of slot %d", s.Slot), err} }
	switch {
	case s.Slot < 0 || s.Part < 1 || s.Part > maxPart || s.PID < 1 || f.crew[s.Part] != nil:
		return bad(ErrState)
	case s.Slot >= f.cfg.Workers:
		return fmt.Errorf("FrontConfig.Workers is %d, and the node has a worker more: want %d or more", f.cfg.Workers, s.Slot+1)
	}
	for _, other := range f.crew {
		if other.slot == s.Slot {
			return bad(fmt.Errorf("%w: there are two", ErrState))
		}
	}
	handle := -1
	if at := s.Handle.Index(); at >= 0 {
		var err error
		if handle, err = list.takeOne(at); err != nil {
			return err
		}
		if !process.IsHandle(handle) {
			return bad(errors.Join(fmt.Errorf("%w: the descriptor of its process is of another kind", ErrState), descriptor.Close(handle)))
		}
	}
	w := f.workerProcess(s.Slot)
	w.proc = process.Adopt(s.PID, handle)
	l, err := takeLine(list, s.Line, s.Unsent)
	if err != nil {
		w.proc.Release()
		return err
	}
	w.line, w.number, w.born = l, s.Part, time.Now().Add(-max(s.Age, 0))
	w.ready, w.hangs, w.sessions, w.moves, w.socket = s.Ready, s.Hangs, s.Sessions, s.Moves, s.Socket
	f.crew[w.number] = w
	if w.ready {
		close(w.began)
	}
	for _, u := range s.Untaken {
		if u.Via < 0 || u.Via >= len(w.untaken) {
			return bad(ErrState)
		}
		kept := &session{withdrawn: u.Descriptor == 0, peer: u.Peer, socket: u.Socket}
		if !kept.withdrawn {
			fd, err := list.takeOne(u.Descriptor.Index())
			if err != nil {
				return err
			}
			kept.s = keptSocket(fd)
		}
		w.untaken[u.Via] = append(w.untaken[u.Via], kept)
	}
	return w.reopen() // the worker first takes what was pushed through the old socket
}

// Front is the front. Until Start it does nothing.
func (g *StagedFront) Front() *Front { return g.f }

// Start lets the front go on. Its error is that of Staged.Start: the front runs all the same.
func (g *StagedFront) Start(ctx context.Context) error {
	if !g.over.CompareAndSwap(false, true) {
		return wrap("start front", g.f.Name(), ErrStarted)
	}
	for _, list := range g.waits {
		clearMessages(list)
	}
	f := g.f
	f.mu.Lock()
	manned := map[int]*workerProcess{}
	for _, w := range f.crew {
		manned[w.slot] = w
		for _, list := range w.untaken {
			for _, s := range list {
				w.awaitTaken(s)
			}
		}
	}
	f.still.Open()
	f.busy = false
	for _, w := range manned {
		w.proc.Watch()
		f.wg.Go(w.attend)
		w.line.Resume()
	}
	f.mu.Unlock()
	for slot := range f.cfg.Workers {
		f.wg.Go(func() { f.keepSlot(context.Background(), slot, nil, manned[slot]) })
	}
	return g.node.Start(ctx)
}

// Discard gives the front up: it belongs to the other process. It waits, and errs, as
// Staged.Discard does; its descriptors are closed all the same. After Start, and when called again,
// Discard does nothing.
func (g *StagedFront) Discard() error {
	if !g.over.CompareAndSwap(false, true) {
		return nil
	}
	f := g.f
	f.end()
	err := g.node.Discard()
	for _, w := range f.crew {
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
	f.mu.Lock()
	clear(f.crew) // they are the other process's: a Close does not end them
	f.mu.Unlock()
	f.nameTable.Close()
	f.still.Open()
	return wrap("discard front", f.Name(), err)
}
