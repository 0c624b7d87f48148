package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// bonds lists the process's links and monitors, in both directions: those with processes of node,
// or all if node is empty. b.mu is held.
func (b *Mailbox) bonds(node string) states.Bonds {
	s := states.Bonds{Pid: b.pid}
	for pid, l := range b.links.all(ei.Atom(node)) {
		s.Links = append(s.Links, states.Link{Pid: pid, Active: l.active, UnlinkID: l.unlinkID})
	}
	for id, w := range b.watchers.all(ei.Atom(node)) {
		s.Watchers = append(s.Watchers, states.Watcher{Ref: id.ref, Pid: w.pid, Name: w.name})
	}
	for ref, t := range b.watching.all(ei.Atom(node)) {
		s.Watching = append(s.Watching, states.Watching{Ref: ref, Node: t.node, Pid: t.pid, Name: t.name, Worker: t.worker})
	}
	for c, count := range b.downs {
		if node == "" || node == c.peer.Name {
			s.Downs = append(s.Downs, states.Down{Node: c.peer.Name, Count: count})
		}
	}
	return s
}

// tie gives the process the links and monitors that the process with the same pid had in the old
// process.
func (b *Mailbox) tie(s *states.Bonds) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range s.Links {
		b.links.put(l.Pid.Node, l.Pid, &link{l.Active, l.UnlinkID})
	}
	for _, w := range s.Watchers {
		b.watchers.put(w.Pid.Node, monitorID{w.Ref, w.Pid.Node}, watcher{w.Pid, w.Name})
	}
	for _, t := range s.Watching {
		b.watching.put(ei.Atom(t.Node), t.Ref, target{node: t.Node, pid: t.Pid, name: t.Name, worker: t.Worker})
	}
	for _, d := range s.Downs {
		if c := b.n.Conn(d.Node); c != nil {
			b.noteDown(c, d.Count)
		}
	}
}

// forget removes the process's links and monitors with the peer of a connection that has moved. A
// process that waits for the answer to a call over that connection ends.
func (b *Mailbox) forget(c *Conn) {
	b.mu.Lock()
	gone := b.calls == c
	for _, pid := range b.cut(c.extent()).links {
		b.links.remove(pid.Node, pid)
	}
	delete(b.downs, c)
	if b.nodesUp[c] {
		delete(b.nodesUp, c)
		putFew(&b.nodesAway, c.peer.Name, c.nodeType(), peers.MaxAway)
	}
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
		s := b.bonds(node)
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
			p.noteFormer(b, list[i].Watchers)
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
	if c.kind() == relayLink {
		return
	}
	noproc, there := exitReason(ei.Atom("noproc")), c.extent()
	for _, l := range s.Links {
		if l.Active && there.has(l.Pid) {
			c.tell(linkExit(s.Pid, l.Pid, noproc))
		}
	}
	for _, w := range s.Watchers {
		if !there.has(w.Pid) {
			continue
		}
		heir := c.n.procs.named(w.Name) // the peer knows only the name, and may be about to call
		if heir == nil || !heir.watched(w.Ref, watcher{w.Pid, w.Name}) {
			c.tell(down(s.Pid, watcher{w.Pid, w.Name}, w.Ref, noproc))
		}
	}
	for _, t := range s.Watching {
		if (scope{t.Node, t.Worker}) == there && (t.Pid != ei.Pid{} || t.Name != "") {
			c.tell(demonitor(s.Pid, target{pid: t.Pid, name: t.Name}, t.Ref))
		}
	}
}
