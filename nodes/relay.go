package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// divert passes on a message that is for a process of another worker, or comes from one for the peer; false if it is for this worker.
func (p *part) divert(c *Conn, m *Message) bool {
	switch c.kind() {
	case branch: // from another worker, for the peer
		c.diverted(m, c.trunk, c.trunk.carry(m))
		return true
	case shadow, sibling: // another worker has found the process here: it is not sought elsewhere again, even if its name has moved on
		return false
	}
	to, err := p.onward(c, m)
	for err == nil && to != nil && !to.note(m, true) { // that branch has ended just now
		to, err = p.onward(c, m)
	}
	if to == nil && err == nil {
		return false
	}
	if err == nil {
		err = to.carry(m)
	}
	if err != nil && err != errHalted {
		p.n.stats.undeliverable.Add(1)
	}
	c.diverted(m, c, err)
	return true
}

// diverted ends what c's reader does with a message between the trunk's peer and another worker: the message is out, or lost, or, if the
// reader is to halt, parked.
func (c *Conn) diverted(m *Message, trunk *Conn, err error) {
	if err == errHalted {
		c.park(m)
		return
	}
	if err != nil {
		c.n.log.Debug("not relayed", "peer", trunk.peer.Name, "error", err)
	}
	m.Release()
}

// onward is the branch of a peer's connection that a message is to take; nil if it is for this worker, or for a worker that is no more.
func (p *part) onward(c *Conn, m *Message) (*Conn, error) {
	at := 0
	switch m.Op {
	case dist.OpSpawnRequest, dist.OpGroupLeader, dist.OpNodeLink:
		return nil, nil
	case dist.OpAliasSend:
		at = p.holder(m.Ref)
	case dist.OpDemonitorP:
		if b := c.branchOfMonitor(m.Ref); b != nil { // whoever has the name by now
			return b, nil
		}
		fallthrough
	default:
		var err error
		if at, err = p.elsewhere(p.n.ctx, m.To, m.ToName, c); err != nil {
			return nil, err
		}
	}
	if at == 0 {
		return nil, nil
	}
	if lives, err := p.lives(c.pass(), at); !lives { // whatever the state of the sibling: m takes a branch
		return nil, c.passed(err)
	}
	b, _, err := c.branch(at, true)
	if err != nil { // a dropped message would pass for denied: so the peer is to see the connection end, and connect again
		p.n.log.Warn("no way to another worker", "peer", c.peer.Name, "error", err)
		return nil, c.failed(err)
	}
	return b, nil
}

// carry sends a message on as it came, in the form that the other side takes. errHalted: it was not sent, and the reader of the message's
// connection is to halt.
func (c *Conn) carry(m *Message) error {
	ctl := m.Control
	if ctl.Op == dist.OpSend && ctl.From != (ei.Pid{}) && c.peer.Flags.Has(dist.FlagSendSender) {
		ctl.Op = dist.OpSendSender
	}
	with, payload, ok := c.agreed(&ctl)
	if !ok {
		return nil
	}
	if payload == nil {
		payload = m.Payload
	}
	t := m.viaBranch() // of the peer's connection
	if t != nil && m.Op == dist.OpLink {
		t.note(m, false)
	}
	err := c.sendControl(m.conn.pass(), with, payload)
	if t != nil && m.Op != dist.OpLink && err == nil { // it ends something: until it is out, the end of the branch has to tell of that
		t.note(m, false)
	}
	return m.conn.passed(err)
}

// viaBranch is the branch that a message came through; nil if it came otherwise.
func (m *Message) viaBranch() *Conn {
	if m.conn != nil && m.conn.kind() == branch {
		return m.conn
	}
	return nil
}

// note remembers the link or monitor that a message begins or ends on its way through the branch c; inward: the message is from the peer.
// It is false if the end of the branch has been dealt with already: then the peer would not be told of the end of the link or monitor.
func (c *Conn) note(m *Message, inward bool) bool {
	switch m.Op {
	case dist.OpLink, dist.OpUnlinkID, dist.OpUnlink, dist.OpExit, dist.OpMonitorP, dist.OpDemonitorP, dist.OpMonitorPExit,
		dist.OpSpawnReply:
	default:
		return true
	}
	l := crossing{m.To, m.From}
	if inward {
		l = crossing{m.From, m.To}
	}
	c.trunk.branching.Lock()
	defer c.trunk.branching.Unlock()
	if c.trunk.branches[c.worker] != c {
		return false
	}
	switch {
	case m.Op == dist.OpLink:
		c.crossed.link(l)
	case m.Op == dist.OpSpawnReply:
		if pid, ok := spawnedBy(m); ok && m.Flags&dist.SpawnLinked != 0 {
			c.crossed.link(crossing{pid, m.To})
		}
	case m.Op == dist.OpUnlinkID || m.Op == dist.OpUnlink || m.Op == dist.OpExit:
		delete(c.crossed.links, l)
	case inward && m.Op == dist.OpMonitorP: // monitors that the other worker's processes have, that worker knows itself
		c.crossed.watch(m.Ref, crossMonitor{m.From, m.To, m.ToName})
	case inward && m.Op == dist.OpDemonitorP || !inward && m.Op == dist.OpMonitorPExit:
		delete(c.crossed.monitors, m.Ref)
	}
	return true
}

// branchOfMonitor is the branch that a monitor of the peer's has gone through.
func (c *Conn) branchOfMonitor(ref ei.Ref) *Conn {
	c.branching.Lock()
	defer c.branching.Unlock()
	for _, b := range c.branches {
		if _, ok := b.crossed.monitors[ref]; ok {
			return b
		}
	}
	return nil
}
