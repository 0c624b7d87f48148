package nodes

import "time"

// snapshot writes the state of the frozen front; f.mu is held. The descriptors are in the table in the order of the state.
func (e *FrozenFront) snapshot() (err error) {
	f := e.f
	s := frontState{node: e.node.state, descriptors: len(e.node.table.fds), arrivals: f.n.arrivals.Load(), lastPart: f.lastPart}
	if err := e.snapshotCrew(&s); err != nil {
		return err
	}
	f.snapshotRoutes(&s)
	if f.roll != nil {
		s.roll = placeOf(e.node.table.add(f.roll.Descriptor()))
	}
	for name, t := range f.names {
		s.names = append(s.names, tenancyState{name, t.w.number, t.number})
	}
	e.state, err = writeState(kindFront, &s)
	return err
}

// snapshotCrew has the workers. Sessions that are picked are cut off, and not counted.
func (e *FrozenFront) snapshotCrew(s *frontState) (err error) {
	table := &e.node.table
	picked := map[*crewman]int{}
	for k := range e.f.picked {
		picked[k.w]++
	}
	for _, w := range e.f.crew {
		c := crewState{
			slot: w.slot, part: w.number, pid: w.proc.PID, ready: w.ready, hangs: w.hangs, sessions: w.sessions - picked[w],
			age: max(time.Since(w.born), 0), moves: w.moves, socket: w.socket,
		}
		if c.line, err = table.addOf(w.line.Descriptor); err != nil {
			return err
		}
		if fd := w.proc.Descriptor(); fd >= 0 {
			c.handle = placeOf(table.add(fd))
		}
		if c.words, err = table.words(w.line.Waiting()); err != nil {
			return err
		}
		if c.untaken, err = w.snapshotUntaken(table); err != nil {
			return err
		}
		s.crew = append(s.crew, c)
	}
	return nil
}

// snapshotUntaken has the sessions that a worker has not taken yet.
func (w *crewman) snapshotUntaken(table *descriptorTable) (all []sessionState, err error) {
	for way, list := range w.untaken {
		for _, u := range list {
			us := sessionState{way: way, peer: u.peer, socket: u.socket}
			if !u.withdrawn {
				at, err := table.addOf(u.s.Descriptor)
				if err != nil {
					return nil, err
				}
				us.descriptor = placeOf(at)
			}
			all = append(all, us)
		}
	}
	return all, nil
}

// snapshotRoutes has who has which peer, without the sessions that are cut off.
func (f *Front) snapshotRoutes(s *frontState) {
	for peer, r := range f.routes {
		rs := routeState{peer: peer}
		for w, count := range r.held {
			for k := range f.picked {
				if k.w == w && k.peer == peer {
					count--
				}
			}
			if count > 0 {
				rs.held = append(rs.held, heldState{w.number, count})
				if w == r.at || rs.at == 0 {
					rs.at, rs.proven = w.number, w == r.at && r.proven
				}
			}
		}
		if len(rs.held) > 0 {
			s.routes = append(s.routes, rs)
		}
	}
}
