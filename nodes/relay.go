package nodes

import (
	"context"
	"errors"

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

// A passing is the wait of a connection's reader for what it needs to pass messages on. It ends when the reader is to halt, or with the
// connection.
type passing struct {
	ctx context.Context
	end context.CancelFunc
}

// pass is the context of the passing in progress, or of a new one. Only the reader calls it.
func (c *Conn) pass() context.Context {
	p := c.rd.passing.Load()
	if p == nil || p.ctx.Err() != nil {
		p = new(passing)
		p.ctx, p.end = context.WithCancel(c.n.ctx)
		c.rd.passing.Store(p)
		if c.rd.halt.IsShut() || c.Err() != nil { // endPassing may have come before the Store
			p.end()
		}
	}
	return p.ctx
}

// passed turns the error that a wait with pass has ended with into the reader's: errHalted, if it is to halt.
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
