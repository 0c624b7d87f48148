package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// bondState lists the process's links and monitors, in both directions: those with processes of
// node, or all if node is empty. b.mu is held.
func (b *Mailbox) bondState(node string) (s states.Bonds) {
	b.describeBonds(node, &s)
	return s
}

// describeBonds is bondState that uses the lists of s again.
func (b *Mailbox) describeBonds(node string, s *states.Bonds) {
	b.bonds.State(node, s)
	s.Pid, s.Downs = b.pid, b.nodes.Owed(node)
}

// tie gives the process the links and monitors that the process with the same pid had in the old
// process.
func (b *Mailbox) tie(s *states.Bonds) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bonds.Restore(s)
	for _, d := range s.Downs {
		if c := b.n.Conn(d.Node); c != nil {
			b.nodes.Owe(reported{c}, d.Count)
		}
	}
}

// forget removes the process's links and monitors with the peer of a connection that has moved. A
// process that waits for the answer to a call over that connection ends.
func (b *Mailbox) forget(c *Conn) {
	b.mu.Lock()
	gone := b.origin.over == c
	for _, pid := range b.cut(c.extent()).links {
		b.bonds.Break(pid)
	}
	b.nodes.Depart(reported{c})
	b.mu.Unlock()
	if gone {
		b.moveOut()
	}
}

// bondsWith lists the links and monitors of this node's processes with those of another node.
func (n *Node) bondsWith(node string) []states.Bonds {
	var list []states.Bonds
	for _, b := range n.procs.all() {
		b.mu.Lock()
		s := b.bondState(node)
		b.mu.Unlock()
		if !s.Empty() {
			list = append(list, s)
		}
	}
	return list
}

// tie gives bonds to their processes. If a process is not here, the peer is told that it does not
// exist; monitors of a name go to the process that has the name here.
func (c *Conn) tie(list []states.Bonds) {
	p := &c.n.procs
	for i := range list {
		if b := p.local(list[i].Pid); b != nil {
			b.tie(&list[i])
			p.mu.Lock()
			for _, w := range list[i].Watchers {
				p.noteFormer(b, w.Name)
			}
			p.mu.Unlock()
		} else {
			c.disown(&list[i])
		}
	}
}

// disown ends the links and monitors that a process which is not here had with the processes that c
// is the way to, except monitors of a name that another process has here.
func (c *Conn) disown(s *states.Bonds) {
	// the way to another worker for a peer, not for this node's own processes
	if c.kind() == inside.RelayLink {
		return
	}
	noproc, shutdown, there := exitReason(ei.Atom("noproc")), exitReason(ei.Atom("shutdown")), c.extent()
	for _, l := range s.Links {
		if l.Active && there.Has(l.Pid) {
			c.tell(bonds.LinkExit(s.Pid, l.Pid, noproc))
		}
	}
	for _, w := range s.Watchers {
		if !there.Has(w.Pid) {
			continue
		}
		by, why := bonds.Watcher{Pid: w.Pid, Name: w.Name}, noproc
		heir := c.n.procs.named(w.Name) // the peer knows only the name, and may be about to call
		if w.Awaits {
			heir, why = nil, shutdown // whoever has the name here does not answer it
		}
		if heir == nil || !heir.watched(w.Ref, by) {
			c.tell(bonds.Down(s.Pid, by, w.Ref, why))
		}
	}
	for _, t := range s.Watching {
		if (bonds.Scope{Node: t.Node, Worker: t.Worker}) == there && (t.Pid != ei.Pid{} || t.Name != "") {
			c.tell(bonds.Demonitor(s.Pid, bonds.Target{Pid: t.Pid, Name: t.Name}, t.Ref))
		}
	}
}
