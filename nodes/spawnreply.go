package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// spawnedBy reads the new process from a SPAWN_REPLY; false if there is none, or it is not one of
// the peer's own.
func spawnedBy(m *Message) (ei.Pid, bool) {
	c := ei.NewCursor(m.Result)
	pid, err := c.Pid()
	return pid, err == nil && m.conn != nil && string(pid.Node) == m.conn.peer.Name
}

// parentOf begins the link and the monitor that a process has asked for in a SPAWN_REQUEST: on the
// other side they are there already. False if the process has ended.
func (b *Mailbox) parentOf(pid ei.Pid, m *Message) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return false
	}
	if l := b.links.of(pid.Node)[pid]; l == nil && m.Flags&dist.SpawnLinked != 0 {
		b.links.put(pid.Node, pid, &link{active: true})
	}
	if _, known := b.watching.find(m.Ref); !known && m.Flags&dist.SpawnMonitored != 0 {
		b.watching.put(pid.Node, m.Ref, target{node: string(pid.Node), pid: pid})
	}
	return true
}

// orphan ends the link and the monitor of a new process whose parent has ended.
func (n *Node) orphan(pid ei.Pid, m *Message) {
	if m.Flags&dist.SpawnLinked != 0 {
		sendExit(n.tell, m.To, pid, exitReason(ei.Atom("noproc")))
	}
	if m.Flags&dist.SpawnMonitored != 0 {
		n.tell(demonitor(m.To, target{pid: pid}, m.Ref))
	}
}
