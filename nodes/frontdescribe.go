package nodes

import "time"

// describe writes the state; f.mu is held.
func (e *FrozenFront) describe() (err error) {
	f := e.f
	table := &e.node.table
	s := frontState{node: e.node.state, descriptors: len(table.fds), arrivals: f.n.arrivals.Load(), lastPart: f.lastPart}
	picked := map[*crewman]int{} // they are cut off
	for k := range f.picked {
		picked[k.w]++
	}
	for _, w := range f.crew {
		c := crewState{
			slot: w.slot, part: w.number, pid: w.proc.pid, ready: w.ready, hangs: w.hangs, sessions: w.sessions - picked[w],
			age: max(time.Since(w.born), 0), moves: w.moves, socket: w.socket,
		}
		if c.line, err = table.addOf(w.line.descriptor); err != nil {
			return err
		}
		if fd := w.proc.descriptor(); fd >= 0 {
			c.handle = placeOf(table.add(fd))
		}
		if c.words, err = table.words(w.line.waiting()); err != nil {
			return err
		}
		for way, list := range w.untaken {
			for _, u := range list {
				us := sessionState{way: way, peer: u.peer, socket: u.socket}
				if !u.withdrawn {
					at, err := table.addOf(u.s.Descriptor)
					if err != nil {
						return err
					}
					us.descriptor = placeOf(at)
				}
				c.untaken = append(c.untaken, us)
			}
		}
		s.crew = append(s.crew, c)
	}
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
	if f.roll != nil {
		s.roll = placeOf(table.add(f.roll.descriptor()))
	}
	for name, t := range f.names {
		s.names = append(s.names, tenancyState{name, t.w.number, t.number})
	}
	e.state, err = writeState(kindFront, &s)
	return err
}
