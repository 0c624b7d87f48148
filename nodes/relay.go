package nodes

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The workers of a node are linked by connections of their own, over which they speak the distribution protocol like nodes do, so that
// order, back-pressure, links and monitors are those of any connection.
//
//	a sibling   joins two workers: what processes of the node say to each other
//	a branch    joins a worker that has the connection to a peer, the trunk, with one that has not: what comes for processes of the
//	            other one, and what they say. The other worker's end is its shadow of the connection: there it is the connection
//	            to that peer.
//
// A shadow ends with the connection, and a branch with the other worker.

// A connKind is one of these, or a connection that is just that.
type connKind int

const (
	direct connKind = iota // to a peer
	shadow
	sibling
	branch
)

func (c *Conn) kind() connKind {
	switch {
	case c.trunk != nil:
		return branch
	case c.worker != 0:
		return sibling
	case c.shadow:
		return shadow
	}
	return direct
}

// toOthers is the connection, or nil where it is one of this node's own, to another worker.
func (c *Conn) toOthers() *Conn {
	if c == nil || c.kind() == sibling {
		return nil
	}
	return c
}

// divert passes a message on that is for a process of another worker; false if it is for this one.
func (p *part) divert(c *Conn, m *Message) bool {
	switch c.kind() {
	case branch: // from another worker, for the peer
		c.diverted(m, c.trunk, c.trunk.carry(m))
		return true
	case shadow, sibling: // another worker has found the process here: it is not sought elsewhere again, even if its name has moved on
		return false
	}
	to, err := p.onward(c, m)
	for err == nil && to != nil && !to.note(m, true) { // it has ended just now
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

// diverted ends what c's reader does with a message between the trunk's peer and another worker: it is out, or lost, or, where the reader
// is to halt, parked.
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

// onward is the branch of a peer's connection that a message is to take; nil for one that is for this worker, or for one that is no more.
func (p *part) onward(c *Conn, m *Message) (*Conn, error) {
	at := 0
	switch m.Op {
	case dist.OpSpawnRequest, dist.OpGroupLeader, dist.OpNodeLink:
		return nil, nil
	case dist.OpAliasSend:
		at = p.holder(m.Ref)
	case dist.OpDemonitorP:
		if b := c.branchOfMonitor(m.Ref); b != nil { // whatever has become of the name
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
	if lives, err := p.lives(c.pass(), at); !lives { // whatever has become of the way between the two workers
		return nil, c.passed(err)
	}
	b, _, err := c.branch(at, true)
	if err != nil { // what is not passed on is not to pass for denied: the peer sees that the connection ends, and comes again
		p.n.log.Warn("no way to another worker", "peer", c.peer.Name, "error", err)
		return nil, c.failed(err)
	}
	return b, nil
}

// A passing is the wait of a connection's reader for those to whom it passes messages on. It ends when the reader is to halt, or with the
// connection.
type passing struct {
	ctx context.Context
	end context.CancelFunc
}

// pass is the passing in progress, or a new one. It is the reader's.
func (c *Conn) pass() context.Context {
	p := c.rd.passing.Load()
	if p == nil || p.ctx.Err() != nil {
		p = new(passing)
		p.ctx, p.end = context.WithCancel(c.n.ctx)
		c.rd.passing.Store(p)
		if c.rd.halt.IsShut() || c.Err() != nil { // who ends it may have looked before
			p.end()
		}
	}
	return p.ctx
}

// passed gives the reader what a wait with pass has ended with: errHalted, where it is to halt.
func (c *Conn) passed(err error) error {
	if errors.Is(err, context.Canceled) && c.Err() == nil && c.n.ctx.Err() == nil {
		return errHalted
	}
	return err
}

func (c *Conn) endPassing() {
	if p := c.rd.passing.Load(); p != nil {
		p.end()
	}
}

// park keeps a message that could not be passed on before the reader halts. It is the first that the reader deals with when it goes on,
// here or in another process.
func (c *Conn) park(m *Message) { c.rd.unread.putBack(m) }

// carry sends a message on as it came, in the form that the other side takes. errHalted: it is not out, and the reader of the message's
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
	if t != nil && m.Op != dist.OpLink && err == nil { // what ends something: as long as it is not out the end of the branch has to tell
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
