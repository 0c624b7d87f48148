package nodes

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// route does what a message asks for.
func (n *Node) route(c *Conn, m *Message) {
	switch m.Op {
	// these make what lasts as long as the connection to the sender's node
	case dist.OpLink, dist.OpMonitorP, dist.OpSpawnRequest:
		if string(m.From.Node) != c.peer.Name {
			c.breach(&dist.ControlError{Op: m.Op, Offset: -1, Field: "From", Err: fmt.Errorf("%w: a process of %v", dist.ErrShape, m.From.Node)})
			return
		}
	case dist.OpExit, dist.OpExit2, dist.OpUnlink, dist.OpUnlinkID, dist.OpUnlinkIDAck, dist.OpDemonitorP, dist.OpMonitorPExit:
		// These end that, or a process.
		// of a third node: not the peer's to end
		if m.From != (ei.Pid{}) && string(m.From.Node) != c.peer.Name {
			n.stats.malformed.Add(1)
			c.complain(faultFrom, "signal of another node's process skipped", fmt.Errorf("%v from %v", m.Op, m.From))
			m.Release()
			return
		}
	}
	if n.router.divert(c, m) {
		return
	}
	switch m.Op {
	case dist.OpSend, dist.OpRegSend, dist.OpAliasSend:
		b := n.procs.recipient(m)
		if b == nil || !b.deliver(m, c.done) {
			n.stats.undeliverable.Add(1)
			n.log.Debug("nobody to receive", "peer", c.peer.Name, "to", recipientOf(m))
			m.Release()
		}
	case dist.OpSpawnRequest:
		n.spawn(c, m)
	case dist.OpAltactSigSend: // no node announces it: see Config.Flags
		c.complain(faultOp, "control message skipped", fmt.Errorf("%v was not negotiated", m.Op))
		m.Release()
	// processes of Go have no group leader; NODE_LINK is unused
	case dist.OpGroupLeader, dist.OpNodeLink:
	default:
		n.takeSignal(m)
	}
}
