package crew

import (
	"errors"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/process"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// Describe puts the frozen crew into the state of its front. Sessions that are picked, but not
// pushed yet, are cut off, and not counted. The descriptors are put on the table in the order of
// the state.
func (c *Crew) Describe(table *descriptor.Table, s *states.Front) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.LastPart = c.lastPart
	picked := map[*Worker]int{}
	for k := range c.picked {
		picked[k.w]++
	}
	for _, w := range c.workers {
		ws, err := w.describe(table)
		if err != nil {
			return err
		}
		ws.Sessions -= picked[w]
		s.Crew = append(s.Crew, ws)
	}
	c.describeRoutes(s)
	if c.nameTable != nil {
		s.NameTable = states.At(table.Add(c.nameTable.Descriptor()))
	}
	for name, t := range c.names {
		s.Names = append(s.Names, states.Tenancy{Name: name, Part: t.w.number, Number: t.number})
	}
	return nil
}

func (w *Worker) describe(table *descriptor.Table) (s states.Crewman, err error) {
	s = states.Crewman{
		Slot: w.slot, Part: w.number, PID: w.proc.PID, Ready: w.ready, Hangs: w.hangs, Sessions: w.sessions,
		Age: max(time.Since(w.born), 0), Moves: w.moves, Socket: w.socket,
	}
	if s.Line, err = table.AddOf(w.line.Descriptor); err != nil {
		return s, err
	}
	if fd := w.proc.Descriptor(); fd >= 0 {
		s.Handle = states.At(table.Add(fd))
	}
	if s.Unsent, err = talk.Describe(table, w.line.Waiting()); err != nil {
		return s, err
	}
	s.Untaken, err = w.describeUntaken(table)
	return s, err
}

// describeUntaken describes the sessions that a worker has not taken yet.
func (w *Worker) describeUntaken(table *descriptor.Table) (all []states.Session, err error) {
	for via, list := range w.untaken {
		for _, u := range list {
			us := states.Session{Via: via, Peer: u.peer, Socket: u.socket}
			if !u.withdrawn {
				at, err := table.AddOf(u.s.Descriptor)
				if err != nil {
					return nil, err
				}
				us.Descriptor = states.At(at)
			}
			all = append(all, us)
		}
	}
	return all, nil
}

// describeRoutes describes which workers have which peers, without the sessions that are cut off.
func (c *Crew) describeRoutes(s *states.Front) {
	for peer, r := range c.routes {
		rs := states.Route{Peer: peer}
		for w, count := range r.held {
			for k := range c.picked {
				if k.w == w && k.peer == peer {
					count--
				}
			}
			if count > 0 {
				rs.Held = append(rs.Held, states.Held{Part: w.number, Count: count})
				if w == r.at || rs.At == 0 {
					rs.At, rs.Proven = w.number, w == r.at && r.proven
				}
			}
		}
		if len(rs.Held) > 0 {
			s.Routes = append(s.Routes, rs)
		}
	}
}

// Restore makes the crew, which has no workers yet, what another process has described. It stands
// still, and is occupied, until Resume; on failure Discard is to follow.
func (c *Crew) Restore(s *states.Front, list *descriptor.List) error {
	c.still.Shut()
	c.busy = true
	c.lastPart = s.LastPart
	for i := range s.Crew {
		if err := c.restore(&s.Crew[i], list); err != nil {
			return err
		}
	}
	for _, r := range s.Routes {
		if r.At == 0 || c.workers[r.At] == nil {
			return &form.Error{Path: "route to " + r.Peer, Err: form.ErrMalformed}
		}
		route := &route{held: map[*Worker]int{}, at: c.workers[r.At], proven: r.Proven}
		for _, h := range r.Held {
			if c.workers[h.Part] == nil || h.Count < 1 {
				return &form.Error{Path: "route to " + r.Peer, Err: form.ErrMalformed}
			}
			route.held[c.workers[h.Part]] = h.Count
		}
		c.routes[r.Peer] = route
	}
	var err error
	if c.nameTable, err = nametable.Take(list, s.NameTable.Index()); err != nil {
		return err
	}
	for _, t := range s.Names {
		if c.workers[t.Part] == nil {
			return &form.Error{Path: "name " + t.Name, Err: form.ErrMalformed}
		}
		c.names[t.Name] = tenancy{c.workers[t.Part], t.Number}
		c.nameTable.Recall(t.Name)
	}
	return nil
}

// restore stages one worker.
func (c *Crew) restore(s *states.Crewman, list *descriptor.List) error {
	bad := func(err error) error { return &form.Error{Path: fmt.Sprintf("worker of slot %d", s.Slot), Err: err} }
	switch {
	case s.Slot < 0 || s.Part < 1 || s.Part > states.MaxPart || s.PID < 1 || c.workers[s.Part] != nil:
		return bad(form.ErrMalformed)
	case s.Slot >= c.cfg.Count:
		return fmt.Errorf("Config.Workers is %d, and the node has a worker more: want %d or more", c.cfg.Count, s.Slot+1)
	}
	for _, other := range c.workers {
		if other.slot == s.Slot {
			return bad(fmt.Errorf("%w: there are two", form.ErrMalformed))
		}
	}
	handle := -1
	if at := s.Handle.Index(); at >= 0 {
		var err error
		if handle, err = list.TakeOne(at); err != nil {
			return err
		}
		if !process.IsHandle(handle) {
			return bad(errors.Join(fmt.Errorf("%w: the descriptor of its process is of another kind", form.ErrMalformed), descriptor.Close(handle)))
		}
	}
	w := c.worker(s.Slot)
	w.proc = process.Adopt(s.PID, handle)
	l, err := talk.TakeLine(list, s.Line, s.Unsent)
	if err != nil {
		w.proc.Release()
		return err
	}
	w.line, w.number, w.born = l, s.Part, time.Now().Add(-max(s.Age, 0))
	w.ready, w.hangs, w.sessions, w.moves, w.socket = s.Ready, s.Hangs, s.Sessions, s.Moves, s.Socket
	c.workers[w.number] = w
	if w.ready {
		close(w.began)
	}
	for _, u := range s.Untaken {
		if u.Via < 0 || u.Via >= len(w.untaken) {
			return bad(form.ErrMalformed)
		}
		kept := &session{withdrawn: u.Descriptor == 0, peer: u.Peer, socket: u.Socket}
		if !kept.withdrawn {
			fd, err := list.TakeOne(u.Descriptor.Index())
			if err != nil {
				return err
			}
			kept.s = keptSocket(fd)
		}
		w.untaken[u.Via] = append(w.untaken[u.Via], kept)
	}
	return w.reopen() // the worker first takes what was pushed through the old socket
}
