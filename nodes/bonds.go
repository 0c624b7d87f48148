package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// bonds tells what the process has with others: with those of a node, or with all if node is empty. b.mu is held.
func (b *Mailbox) bonds(node string) bonds {
	with := func(other string) bool { return node == "" || node == other }
	s := bonds{pid: b.pid}
	for pid, l := range b.links {
		if with(string(pid.Node)) {
			s.links = append(s.links, linkState{pid, l.active, l.unlinkID})
		}
	}
	for ref, w := range b.watchers {
		if with(string(w.pid.Node)) {
			s.watchers = append(s.watchers, watcherState{ref, w.pid, w.name})
		}
	}
	for ref, t := range b.watching {
		if with(t.node) {
			s.watching = append(s.watching, watchingState{ref, t.node, t.pid, t.name, t.worker})
		}
	}
	for c, count := range b.downs {
		if with(c.peer.Name) {
			s.downs = append(s.downs, downState{c.peer.Name, count})
		}
	}
	return s
}

// tie gives the process what another one of its pid had.
func (b *Mailbox) tie(s *bonds) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range s.links {
		put(&b.links, l.pid, &link{l.active, l.unlinkID})
	}
	for _, w := range s.watchers {
		put(&b.watchers, w.ref, watcher{w.pid, w.name})
	}
	for _, t := range s.watching {
		put(&b.watching, t.ref, target{node: t.node, pid: t.pid, name: t.name, worker: t.worker})
	}
	for _, d := range s.downs {
		if c := b.n.Conn(d.node); c != nil {
			b.noteDown(c, d.count)
		}
	}
}

// forget takes from the process what it has with the peer of a connection that has moved. One that waits for the answer to a call over it
// ends.
func (b *Mailbox) forget(c *Conn) {
	b.mu.Lock()
	gone := b.calls == c
	for _, pid := range b.cut(c.extent()).links {
		delete(b.links, pid)
	}
	delete(b.downs, c)
	delete(b.nodesUp, c)
	b.mu.Unlock()
	if gone {
		b.moveOut()
	}
}

// bondsWith lists what the processes of this node have with those of another one.
func (n *Node) bondsWith(node string) []bonds {
	var list []bonds
	for _, b := range n.procs.all() {
		b.mu.Lock()
		s := b.bonds(node)
		b.mu.Unlock()
		if !s.empty() {
			list = append(list, s)
		}
	}
	return list
}

// tie gives bonds to their processes. The peer hears of those that are not here: they have ended, as it sees it. Monitors of a name go to
// who has it here.
func (c *Conn) tie(list []bonds) {
	for i := range list {
		if b := c.n.procs.local(list[i].pid); b != nil {
			b.tie(&list[i])
		} else {
			c.disown(&list[i])
		}
	}
}

// disown ends what a process that is not here had with the peer, but for monitors of a name that another one has here.
func (c *Conn) disown(s *bonds) {
	noproc := exitReason(ei.Atom("noproc"))
	for _, l := range s.links {
		if l.active && string(l.pid.Node) == c.peer.Name {
			sendExit(c.tell, s.pid, l.pid, noproc)
		}
	}
	for _, w := range s.watchers {
		if string(w.pid.Node) != c.peer.Name {
			continue
		}
		heir := c.n.procs.named(w.name) // all that the peer knows is the name; it may be about to call
		if heir == nil || !heir.watched(w.ref, watcher{w.pid, w.name}) {
			sendDown(c.tell, s.pid, watcher{w.pid, w.name}, w.ref, noproc)
		}
	}
	for _, t := range s.watching {
		if t.node == c.peer.Name {
			c.tell(&dist.Control{Op: dist.OpDemonitorP, From: s.pid, To: t.pid, ToName: t.name, Ref: t.ref})
		}
	}
}
