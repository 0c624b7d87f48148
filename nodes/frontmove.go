package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A FrozenFront is a front that stands still: it accepts nobody, and hears and says nothing. Its workers and all connections go on meanwhile. It is this process's until
// Release, and goes on as if nothing had happened after Thaw. One of the two must be called.
type FrozenFront struct {
	f     *Front
	node  *Frozen
	state []byte
	table descriptorTable
	hires bool // it holds the front's hiring
	over  atomic.Bool
}

// Freeze stops the front, to hand it to another process: see RestoreFront. The listener stays open, and connections arrive in its backlog; handshakes that have not come to a worker
// are waited for a moment, and cut off when the front is released. Whatever fails, the front goes on as before. handoff.ErrBusy while its workers are being upgraded.
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

// occupy sees to it that the front does one thing at a time.
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
	case f.hiring <- struct{}{}: // nobody joins
		e.hires = true
	case <-ctx.Done():
		return fmt.Errorf("a worker is being started: %w", ctx.Err())
	}
	f.mu.Lock()
	f.still.shut()
	var crew []*crewman
	for _, w := range f.crew {
		crew = append(crew, w)
	}
	f.mu.Unlock()
	for _, w := range crew {
		if err = w.line.pause(ctx); err == nil {
			err = w.line.hold(ctx)
		}
		if err != nil {
			return fmt.Errorf("worker of slot %d: %w", w.slot, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return e.describe()
}

// describe writes the state; f.mu is held.
func (e *FrozenFront) describe() (err error) {
	f := e.f
	e.table.fds = slices.Clone(e.node.fds)
	s := frontState{node: e.node.state, descriptors: len(e.node.fds), arrivals: f.n.arrivals.Load(), lastPart: f.lastPart}
	picked := map[*crewman]int{} // they are cut off
	for k := range f.picked {
		picked[k.w]++
	}
	for _, w := range f.crew {
		c := crewState{
			slot: w.slot, part: w.part, pid: w.proc.pid, ready: w.ready, hangs: w.hangs, sessions: w.sessions - picked[w], age: max(time.Since(w.born), 0), moves: w.moves,
		}
		fd, err := w.line.descriptor()
		if err != nil {
			return err
		}
		c.line = e.table.place(fd)
		if fd := w.proc.descriptor(); fd >= 0 {
			c.handle = e.table.place(fd) + 1
		}
		if c.words, err = e.table.words(w.line.waiting()); err != nil {
			return err
		}
		for way, list := range w.untaken {
			for _, u := range list {
				us := sessionState{way: way}
				if !u.withdrawn {
					fd, err := u.s.Descriptor()
					if err != nil {
						return err
					}
					us.descriptor = e.table.place(fd) + 1
				}
				c.untaken = append(c.untaken, us)
			}
		}
		s.crew = append(s.crew, c)
	}
	for peer, r := range f.routes {
		rs := routeState{peer: peer, order: r.order}
		for w, count := range r.held {
			for k := range f.picked {
				if k.w == w && k.peer == peer {
					count--
				}
			}
			if count > 0 {
				rs.held = append(rs.held, heldState{w.part, count})
				if w == r.at || rs.at == 0 {
					rs.at = w.part
				}
			}
		}
		if len(rs.held) > 0 {
			s.routes = append(s.routes, rs)
		}
	}
	for name, t := range f.names {
		s.names = append(s.names, tenancyState{name, t.w.part, t.number})
	}
	e.state, err = writeState(kindFront, &s)
	return err
}

// State is what another process needs, beside the descriptors, to go on as this front.
func (e *FrozenFront) State() []byte { return e.state }

// Descriptors are those of the node, and of what the workers share with the front, in the order that the state counts on. They stay the front's: pass them on before Thaw or
// Release.
func (e *FrozenFront) Descriptors() []int { return slices.Clone(e.table.fds) }

// Thaw lets the front go on here.
func (e *FrozenFront) Thaw() {
	if !e.over.CompareAndSwap(false, true) {
		return
	}
	f := e.f
	f.mu.Lock()
	for _, w := range f.crew {
		w.line.resume()
	}
	f.still.open()
	f.busy = false
	f.mu.Unlock()
	if e.hires {
		<-f.hiring
	}
	if e.node != nil {
		e.node.Thaw()
	}
}

// Release ends the front in this process: the other one has it. No worker notices.
func (e *FrozenFront) Release() error {
	if !e.over.CompareAndSwap(false, true) {
		return nil
	}
	f := e.f
	f.mu.Lock()
	f.released = true
	f.end()
	for _, w := range f.crew {
		w.line.close()
	}
	f.mu.Unlock()
	err := e.node.Release()
	f.still.open()
	f.wg.Wait()
	return wrap("release front", f.Name(), errors.Join(err))
}

// A StagedFront is a front that another process has frozen, ready to go on in this one. Nothing has been read, written or said by it. Start or Discard must be called.
type StagedFront struct {
	f    *Front
	node *Staged
	over atomic.Bool
}

// RestoreFront makes a front of what FrozenFront has given in another process: its state, and duplicates of its descriptors, in their order. The descriptors are RestoreFront's from
// the call on. cfg is that of StartFront; the name is the state's, if cfg.Node has none, and has to be the same otherwise. There may be more workers than before, but not
// fewer. The workers' processes stay the same, and are not children of this one: UpgradeWorkers replaces them.
func RestoreFront(cfg FrontConfig, state []byte, descriptors []int) (*StagedFront, error) {
	list := &descriptorList{fds: append([]int(nil), descriptors...)}
	g, err := restoreFront(cfg, state, list)
	if err != nil {
		return nil, wrap("restore front", "", errors.Join(err, list.close()))
	}
	return g, nil
}

func restoreFront(cfg FrontConfig, state []byte, list *descriptorList) (*StagedFront, error) {
	var s frontState
	if err := readState(kindFront, state, &s); err != nil {
		return nil, err
	}
	f, err := newFront(cfg)
	if err != nil {
		return nil, err
	}
	node, err := list.takeFirst(s.descriptors)
	if err != nil {
		return nil, err
	}
	f.still.shut()
	f.busy = true
	f.lastPart = s.lastPart
	g := &StagedFront{f: f}
	first := func(n *Node) error {
		f.n, n.front = n, f
		n.arrivals.Store(s.arrivals)
		return nil
	}
	g.node, err = restore(f.cfg.Node, s.node, node, successor{first: first, setup: func(*Node) error { return nil }})
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

// fill makes what the front has beside the node.
func (g *StagedFront) fill(s *frontState, list *descriptorList) error {
	f := g.f
	if len(g.node.listeners) != 1 {
		return &StateError{"listener", fmt.Errorf("%w: a front has one, and this one %d", ErrState, len(g.node.listeners))}
	}
	if err := f.listens(g.node.listeners[0]); err != nil {
		return err
	}
	for i := range s.crew {
		if err := g.worker(&s.crew[i], list); err != nil {
			return err
		}
	}
	for _, r := range s.routes {
		if r.at == 0 || f.crew[r.at] == nil {
			return &StateError{"route to " + r.peer, ErrState}
		}
		route := &route{held: map[*crewman]int{}, at: f.crew[r.at], order: r.order}
		for _, h := range r.held {
			if f.crew[h.part] == nil || h.count < 1 {
				return &StateError{"route to " + r.peer, ErrState}
			}
			route.held[f.crew[h.part]] = h.count
		}
		f.routes[r.peer] = route
	}
	for _, t := range s.names {
		if f.crew[t.part] == nil {
			return &StateError{"name " + t.name, ErrState}
		}
		f.names[t.name] = tenancy{f.crew[t.part], t.number}
	}
	return nil
}

// worker stages one worker.
func (g *StagedFront) worker(s *crewState, list *descriptorList) error {
	f := g.f
	bad := func(err error) error { return &StateError{fmt.Sprintf("worker of slot %d", s.slot), err} }
	switch {
	case s.slot < 0 || s.part < 1 || s.part > maxPart || s.pid < 1 || f.crew[s.part] != nil:
		return bad(ErrState)
	case s.slot >= f.cfg.Workers:
		return fmt.Errorf("FrontConfig.Workers is %d, and the node has a worker more: want %d or more", f.cfg.Workers, s.slot+1)
	}
	for _, other := range f.crew {
		if other.slot == s.slot {
			return bad(fmt.Errorf("%w: there are two", ErrState))
		}
	}
	handle := -1
	if s.handle > 0 {
		var err error
		if handle, err = list.takeOne(s.handle - 1); err != nil {
			return err
		}
	}
	w := f.crewman(s.slot)
	w.proc = adoptProcess(s.pid, handle)
	l, err := takeLine(list, s.line, s.words)
	if err != nil {
		w.proc.release()
		return err
	}
	w.line, w.part, w.born = l, s.part, time.Now().Add(-max(s.age, 0))
	w.ready, w.hangs, w.sessions, w.moves = s.ready, s.hangs, s.sessions, s.moves
	f.crew[w.part] = w
	if w.ready {
		close(w.began)
	}
	for _, u := range s.untaken {
		if u.way < 0 || u.way >= len(w.untaken) {
			return bad(ErrState)
		}
		kept := &session{withdrawn: u.descriptor == 0}
		if !kept.withdrawn {
			fd, err := list.takeOne(u.descriptor - 1)
			if err != nil {
				return err
			}
			kept.s = keptSocket(fd)
		}
		w.untaken[u.way] = append(w.untaken[u.way], kept)
	}
	return w.reopen() // what was pushed through the socket before comes first
}

// Front is the front. Until Start it does nothing.
func (g *StagedFront) Front() *Front { return g.f }

// Start lets the front go on. Its error is that of Staged.Start: the front runs even so.
func (g *StagedFront) Start(ctx context.Context) error {
	if !g.over.CompareAndSwap(false, true) {
		return wrap("start front", g.f.Name(), ErrStarted)
	}
	f := g.f
	f.mu.Lock()
	manned := map[int]*crewman{}
	for _, w := range f.crew {
		manned[w.slot] = w
		for _, list := range w.untaken {
			for _, s := range list {
				s.timer = time.AfterFunc(f.cfg.Patience, func() { w.recall(s) })
			}
		}
	}
	f.still.open()
	f.busy = false
	for _, w := range manned {
		w.proc.watch()
		f.wg.Go(w.attend)
		w.line.resume()
	}
	f.mu.Unlock()
	for slot := range f.cfg.Workers {
		f.wg.Go(func() { f.man(context.Background(), slot, nil, manned[slot]) })
	}
	return g.node.Start(ctx)
}

// Discard gives the front up: it is the other process's.
func (g *StagedFront) Discard() error {
	if !g.over.CompareAndSwap(false, true) {
		return nil
	}
	f := g.f
	f.end()
	err := g.node.Discard()
	for _, w := range f.crew {
		w.line.close()
		<-w.line.wrote
		w.proc.release()
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
	f.still.open()
	return wrap("discard front", f.Name(), err)
}
