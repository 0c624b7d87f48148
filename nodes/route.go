package nodes

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// attach makes the upper level receive from a connection, once it has started.
func (n *Node) attach(c *Conn) {
	if n.started.Load() {
		c.running.Do(func() { go c.run() }) // which the end of the connection waits for
	}
}

// detach breaks what processes have with the node of a connection that has ended.
func (n *Node) detach(c *Conn) {
	if c.trunk != nil {
		c.trunk.lose(c)
		return
	}
	if c.part != 0 {
		n.part.loseSibling(c)
	}
	for _, b := range n.procs.all() {
		b.nodeDown(c)
	}
}

// run receives until the connection ends, and gives each message to the process that it is for. One goroutine does it in the order of the
// wire, so that signals from one sender stay in order.
func (c *Conn) run() {
	select {
	case c.rd.busy <- struct{}{}:
	case <-c.done:
		return
	}
	defer func() { <-c.rd.busy }()
	for _, m := range c.rd.unread { // what came before Start
		c.n.route(c, m)
	}
	c.rd.unread = nil
	for {
		m := c.n.buffers.message()
		m.pool = &c.n.buffers
		switch err := c.receive(context.Background(), m); {
		case err == nil:
			c.rd.gave = true // a Handler says no
			if c.n.route(c, m); c.rd.gave {
				c.s.Yield()
			}
		case errors.Is(err, dist.ErrUnknownOp):
			c.complain(faultOp, "control message skipped", err)
		default:
			return
		}
	}
}

// route does what a message asks for.
func (n *Node) route(c *Conn, m *Message) {
	switch m.Op {
	case dist.OpLink, dist.OpMonitorP, dist.OpSpawnRequest: // what lasts as long as the connection to the sender's node
		if string(m.From.Node) != c.peer.Name {
			n.stats.malformed.Add(1)
			c.fail(&dist.ControlError{Op: m.Op, Offset: -1, Field: "From", Err: fmt.Errorf("%w: a process of %v", dist.ErrShape, m.From.Node)})
			return
		}
	}
	if n.part != nil && n.part.divert(c, m) {
		return
	}
	switch m.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend:
		b := n.procs.recipient(m)
		if b == nil || !b.deliver(m, c.done) {
			n.stats.undeliverable.Add(1)
			n.log.Debug("nobody to receive", "peer", c.peer.Name, "to", m.To, "name", m.ToName)
			m.Release()
		}
	case dist.OpSpawnRequest:
		n.spawn(c, m)
	case dist.OpUnlink: // the old protocol has no acknowledgement
		if b := n.procs.local(m.To); b != nil {
			b.unlinked(m.From, func() {})
		}
	case dist.OpGroupLeader, dist.OpNodeLink: // processes of Go have no group leader; NODE_LINK is unused
	default:
		n.takeSignal(&m.Control, m)
	}
}

// localSignal gives a signal from a process of this node to another one.
func (n *Node) localSignal(ctl *dist.Control) { n.takeSignal(ctl, &Message{Control: *ctl}) }

// takeSignal takes a signal between processes, whichever node it comes from.
func (n *Node) takeSignal(ctl *dist.Control, m *Message) {
	b := n.procs.local(ctl.To)
	if ctl.ToName != "" {
		b = n.procs.named(ctl.ToName)
	}
	switch ctl.Op {
	case dist.OpLink:
		if b == nil || !b.linked(ctl.From) {
			sendExit(n.tell, ctl.To, ctl.From, ei.Atom("noproc"))
		}
	case dist.OpMonitorP:
		w := watcher{ctl.From, ctl.ToName}
		if b == nil || !b.watched(ctl.Ref, w) {
			sendDown(n.tell, ctl.To, w, ctl.Ref, ei.Atom("noproc"))
		}
	case dist.OpDemonitorP:
		if (b == nil || !b.unwatched(ctl.Ref)) && ctl.ToName != "" { // the name has gone, or moved on
			n.unwatchByName(ctl.Ref)
		}
	case dist.OpUnlinkID:
		acknowledge := func() {}
		if m.conn != nil {
			acknowledge = func() { m.conn.acknowledge(ctl) }
		}
		if b == nil {
			acknowledge()
		} else {
			b.unlinked(ctl.From, acknowledge)
		}
		if m.conn == nil {
			n.localSignal(&dist.Control{Op: dist.OpUnlinkIDAck, ID: ctl.ID, From: ctl.To, To: ctl.From})
		}
	}
	if b == nil {
		return
	}
	switch ctl.Op {
	case dist.OpUnlinkIDAck:
		b.unlinkDone(ctl.From, ctl.ID)
	case dist.OpExit:
		b.linkBroke(ctl.From, ctl.Reason, m.conn)
	case dist.OpExit2:
		b.exitSignal(ctl.From, ctl.Reason, true, m.conn)
	case dist.OpMonitorPExit:
		b.down(m)
	case dist.OpSpawnReply:
		b.notifyFrom(m.conn, m)
	}
}

func (n *Node) unwatchByName(ref ei.Ref) {
	for _, b := range n.procs.all() {
		if b.unwatched(ref) {
			return
		}
	}
}

// agreed gives a signal the form that the peer has agreed to: a reason inside the tuple, or as payload. It is false for what the
// peer does not take at all (the C library knows no monitors): only the end of the connection tells of the process then.
func (c *Conn) agreed(ctl *dist.Control) (*dist.Control, ei.Raw, bool) {
	switch ctl.Op {
	case dist.OpMonitorP, dist.OpDemonitorP:
		need := dist.FlagDistMonitor
		if ctl.ToName != "" {
			need |= dist.FlagDistMonitorName
		}
		return ctl, nil, c.peer.Flags.Has(need)
	case dist.OpUnlinkID:
		if !c.peer.Flags.Has(dist.FlagUnlinkID) {
			return &dist.Control{Op: dist.OpUnlink, From: ctl.From, To: ctl.To}, nil, true
		}
	}
	if !c.peer.Flags.Has(dist.FlagExitPayload) {
		return ctl, nil, true
	}
	op, ok := map[dist.Op]dist.Op{
		dist.OpExit: dist.OpPayloadExit, dist.OpExit2: dist.OpPayloadExit2, dist.OpMonitorPExit: dist.OpPayloadMonitorPExit,
	}[ctl.Op]
	if !ok {
		return ctl, nil, true
	}
	with := *ctl
	with.Op, with.Reason = op, nil
	return &with, ctl.Reason, true
}
