package nodes

import (
	"context"
	"errors"
	"slices"
	"syscall"
)

// snapshot writes the state of the frozen node. The descriptors are in the table in the order of the state.
func (f *Frozen) snapshot(ctx context.Context, s *nodeState) (err error) {
	defer func() {
		for i := range s.conns {
			clear(s.conns[i].export)
		}
	}()
	f.n.snapshotSelf(s)
	if err := f.snapshotConns(s); err != nil {
		return err
	}
	if err := f.snapshotListeners(s); err != nil {
		return err
	}
	f.n.snapshotMailboxes(s)
	f.snapshotPublication(s)
	if f.state, err = writeState(kindNode, s); err != nil {
		return err
	}
	return ctx.Err()
}

// snapshotSelf has who the node is, and its counters.
func (n *Node) snapshotSelf(s *nodeState) {
	n.mu.Lock()
	s.name, s.creation, s.published = n.name, n.creation, n.published != nil
	n.mu.Unlock()
	s.pids, s.refs, s.started = n.ids.pid.Load(), n.ids.ref.Load(), n.started.Load()
	for i, c := range n.stats.all() {
		s.stats[i] = c.Load()
	}
}

// snapshotConns has the connections; those that have just broken are in f.dead.
func (f *Frozen) snapshotConns(s *nodeState) error {
	slices.SortStableFunc(f.conns, func(a, b *Conn) int { return a.order() - b.order() })
	places := map[*Conn]place{}
	f.dead = map[*Conn]bool{}
	for _, c := range f.conns {
		if c.trunk != nil && places[c.trunk] == 0 { // it has just broken
			continue
		}
		cs, err := c.snapshot()
		if isBroken(err) && c.worker == 0 { // the new process finds that it is not there; here its end goes on after Thaw
			f.n.log.Info("a broken connection does not move", "peer", c.peer.Name, "error", err)
			f.dead[c] = true
			continue
		}
		if err == nil {
			places[c] = placeOf(len(s.conns))
			cs.trunk = places[c.trunk]
			cs.descriptor, err = f.table.addOf(c.s.Descriptor)
		}
		if err != nil {
			return wrap("connection to", c.peer.Name, err)
		}
		s.conns = append(s.conns, *cs)
	}
	return nil
}

func (f *Frozen) snapshotListeners(s *nodeState) error {
	for _, l := range f.listeners {
		at, err := f.table.addOf(l.l.Descriptor)
		if err != nil {
			return wrap("listener on", addrText(l.Addr()), err)
		}
		carried, _ := f.n.carriageOf(l.tr)
		s.listeners = append(s.listeners, listenerState{carried, at, l.serves.Load(), l.l.KeepsPath()})
	}
	return nil
}

// snapshotMailboxes has the mailboxes. Of a private one, which does not move, there are the bonds that others have with it.
func (n *Node) snapshotMailboxes(s *nodeState) {
	for _, b := range n.procs.all() {
		bs := b.state()
		if b.private {
			if !bs.bonds.empty() {
				s.orphans = append(s.orphans, *bs.bonds)
			}
			continue
		}
		watchers := &bs.bonds.watchers
		*watchers = slices.DeleteFunc(*watchers, func(w watcherState) bool { return n.procs.isPrivate(w.pid) })
		s.mailboxes = append(s.mailboxes, bs)
	}
}

// snapshotPublication has the registration at the port mapper, if it moves.
func (f *Frozen) snapshotPublication(s *nodeState) {
	if f.name != nil {
		fds := f.name.Descriptors()
		s.publication = &publicationState{f.name.State(), len(fds), f.table.add(fds...)}
	}
}

// isBroken tells whether a session that could not be exported has ended, and nobody who reads has noticed yet: a plug-in that writes by
// itself, TLS say, has been told by the system. Any other error is one of the plug-in's.
func isBroken(err error) bool {
	for _, end := range []error{
		syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// order puts connections before those that lead to them.
func (c *Conn) order() int {
	if c.kind() == branch {
		return 1
	}
	return 0
}

// state describes a mailbox that is held.
func (b *Mailbox) state() mailboxState {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.bonds("")
	s := mailboxState{bonds: &all, limit: b.opts.Limit, full: b.opts.Full, trapExit: b.opts.TrapExit}
	for _, name := range b.names {
		if b.n.procs.named(name) == b {
			s.names = append(s.names, nameState{name})
		}
	}
	s.nodeTypes = b.nodeTypes
	for c := range b.nodesUp {
		s.nodesUp = append(s.nodesUp, upState{c.peer.Name, c.nodeType() == VisibleNodes})
	}
	for _, m := range b.queue[b.first:] {
		s.messages = append(s.messages, m.state())
	}
	return s
}
