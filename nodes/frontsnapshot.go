package nodes

import (
	"context"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/states"
)

// snapshot writes the state of the frozen front; f.mu is held. The descriptors are in the table in
// the order of the state.
func (e *FrozenFront) snapshot(ctx context.Context) (err error) {
	f := e.f
	s := states.Front{Node: e.node.state, Descriptors: len(e.node.table.fds), Arrivals: f.n.arrivals.Load(), LastPart: f.lastPart}
	if err := e.snapshotCrew(&s); err != nil {
		return err
	}
	f.snapshotRoutes(&s)
	if f.nameTable != nil {
		s.NameTable = states.At(e.node.table.add(f.nameTable.Descriptor()))
	}
	for name, t := range f.names {
		s.Names = append(s.Names, states.Tenancy{Name: name, Part: t.w.number, Number: t.number})
	}
	e.state, err = writeState(ctx, states.KindFront, &s)
	return err
}

// snapshotCrew describes the workers. Sessions that are picked, but not pushed yet, are cut off,
// and not counted.
func (e *FrozenFront) snapshotCrew(s *states.Front) (err error) {
	table := &e.node.table
	picked := map[*workerProcess]int{}
	for k := range e.f.picked {
		picked[k.w]++
	}
	for _, w := range e.f.crew {
		c := states.Crewman{
			Slot: w.slot, Part: w.number, PID: w.proc.PID, Ready: w.ready, Hangs: w.hangs, Sessions: w.sessions - picked[w],
			Age: max(time.Since(w.born), 0), Moves: w.moves, Socket: w.socket,
		}
		if c.Line, err = table.addOf(w.line.Descriptor); err != nil {
			return err
		}
		if fd := w.proc.Descriptor(); fd >= 0 {
			c.Handle = states.At(table.add(fd))
		}
		if c.Unsent, err = describeMessages(table, w.line.Waiting()); err != nil {
			return err
		}
		if c.Untaken, err = w.snapshotUntaken(table); err != nil {
			return err
		}
		s.Crew = append(s.Crew, c)
	}
	return nil
}

// snapshotUntaken describes the sessions that a worker has not taken yet.
func (w *workerProcess) snapshotUntaken(table *descriptorTable) (all []states.Session, err error) {
	for via, list := range w.untaken {
		for _, u := range list {
			us := states.Session{Via: via, Peer: u.peer, Socket: u.socket}
			if !u.withdrawn {
				at, err := table.addOf(u.s.Descriptor)
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

// snapshotRoutes describes which workers have which peers, without the sessions that are cut off.
func (f *Front) snapshotRoutes(s *states.Front) {
	for peer, r := range f.routes {
		rs := states.Route{Peer: peer}
		for w, count := range r.held {
			for k := range f.picked {
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
