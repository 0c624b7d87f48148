package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// divert passes on a message that is for a process of another worker, or comes from one for the
// peer; false if it is for this worker.
func (p *part) divert(c *Conn, m *Message) bool {
	switch c.kind() {
	case relayLink: // from another worker, for the peer
		c.diverted(m, c.peerLink, c.peerLink.carry(m))
		return true
	// another worker has found the process here: it is not sought elsewhere again, even if its name
	// has moved on
	case remoteLink, workerLink:
		return false
	}
	to, err := p.onward(c, m)
	for err == nil && to != nil && !to.note(m, true) { // that relay link has ended just now
		to, err = p.onward(c, m)
	}
	if to == nil && err == nil {
		return false
	}
	if err == nil {
		err = to.carry(m)
	}
	if err != nil && err != errReaderStopped {
		p.n.stats.undeliverable.Add(1)
	}
	c.diverted(m, c, err)
	return true
}

// reachFor is a relay link of the peer's connection.
func (p *part) reachFor(by *Conn, worker int) (*Conn, error) {
	if by.kind() != direct { // the peer has asked by way of another worker
		return nil, ErrNoConnection
	}
	b, _, err := by.relayLink(worker, false)
	return b, err
}

// diverted ends what c's reader does with a message between the peer link's peer and another
// worker: the message is out, or lost, or, if the reader is to halt, parked.
func (c *Conn) diverted(m *Message, peerLink *Conn, err error) {
	if err == errReaderStopped {
		c.park(m)
		return
	}
	if err != nil {
		c.n.log.Debug("not relayed", "peer", peerLink.peer.Name, "error", err)
	}
	m.Release()
}

// onward is the relay link of a peer's connection that a message is to take; nil if it is for this
// worker, or for a worker that is no more.
func (p *part) onward(c *Conn, m *Message) (*Conn, error) {
	at := 0
	switch op := m.Op; {
	case op == dist.OpSpawnRequest || op == dist.OpGroupLeader || op == dist.OpNodeLink:
		return nil, nil
	case toAlias(&m.Control):
		at = p.holder(m.Ref)
	case op == dist.OpDemonitorP:
		if b := c.relayLinkOfMonitor(m.Ref); b != nil { // whoever has the name by now
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
	// whatever the state of the worker link: m takes a relay link
	if lives, err := p.lives(c.pass(), at); !lives {
		return nil, c.passed(err)
	}
	b, _, err := c.relayLink(at, true)
	// a dropped message would pass for denied: so the peer is to see the connection end, and
	// connect again
	if err != nil {
		p.n.log.Warn("no way to another worker", "peer", c.peer.Name, "error", err)
		return nil, c.failed(err)
	}
	return b, nil
}

// carry sends a message on as it came, in the form that the other side takes. errReaderStopped: it
// was not sent, and the reader of the message's connection is to halt.
func (c *Conn) carry(m *Message) error {
	ctl := m.Control
	switch {
	case ctl.Op == dist.OpSend && ctl.From != (ei.Pid{}) && c.peer.Flags.Has(dist.FlagSendSender):
		ctl.Op = dist.OpSendSender
	case ctl.Op == dist.OpAliasSend && !c.addressAlias(&ctl):
		return nil
	}
	with, payload, ok := c.agreed(&ctl)
	if !ok {
		return nil
	}
	if payload == nil {
		payload = m.Payload
	}
	t := m.viaRelayLink() // of the peer's connection
	if t != nil && m.Op == dist.OpLink {
		t.note(m, false)
	}
	var err error
	if t != nil && with.From == (ei.Pid{}) { // whoever says it may have said something large before
		err = c.out.Flush(m.conn.pass())
	}
	if err == nil {
		err = c.passOn(m.conn.pass(), with, payload)
	}
	// it ends something: until it is out, the end of the relay link has to tell of that
	if t != nil && m.Op != dist.OpLink && err == nil {
		t.note(m, false)
	}
	return m.conn.passed(err)
}

// viaRelayLink is the relay link that a message came through; nil if it came otherwise.
func (m *Message) viaRelayLink() *Conn {
	if m.conn != nil && m.conn.kind() == relayLink {
		return m.conn
	}
	return nil
}

// note remembers the link or monitor that a message begins or ends on its way through the relay
// link c; inward: the message is from the peer. It is false if the end of the relay link has been
// dealt with already: then the peer would not be told of the end of the link or monitor.
func (c *Conn) note(m *Message, inward bool) bool {
	switch m.Op {
	case dist.OpLink, dist.OpUnlinkID, dist.OpUnlink, dist.OpExit, dist.OpMonitorP, dist.OpDemonitorP, dist.OpMonitorPExit,
		dist.OpSpawnReply:
	default:
		return true
	}
	l := relayedLink{m.To, m.From}
	if inward {
		l = relayedLink{m.From, m.To}
	}
	c.peerLink.relaying.Lock()
	defer c.peerLink.relaying.Unlock()
	if c.peerLink.relayLinks[c.worker] != c {
		return false
	}
	switch {
	case m.Op == dist.OpLink:
		c.relayed.link(l)
	case m.Op == dist.OpSpawnReply:
		if pid, ok := c.n.spawnedBy(m); ok && m.Flags&dist.SpawnLinked != 0 {
			c.relayed.link(relayedLink{pid, m.To})
		}
	case m.Op == dist.OpUnlinkID || m.Op == dist.OpUnlink || m.Op == dist.OpExit:
		delete(c.relayed.links, l)
	// monitors that the other worker's processes have, that worker knows itself
	case inward && m.Op == dist.OpMonitorP:
		c.relayed.watch(m.Ref, relayedMonitor{m.From, m.To, m.ToName})
	case inward && m.Op == dist.OpDemonitorP || !inward && m.Op == dist.OpMonitorPExit:
		delete(c.relayed.monitors, m.Ref)
	}
	return true
}

// relayLinkOfMonitor is the relay link that a monitor of the peer's has gone through.
func (c *Conn) relayLinkOfMonitor(ref ei.Ref) *Conn {
	c.relaying.Lock()
	defer c.relaying.Unlock()
	for _, b := range c.relayLinks {
		if _, ok := b.relayed.monitors[ref]; ok {
			return b
		}
	}
	return nil
}
