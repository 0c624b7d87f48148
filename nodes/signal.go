package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
)

// localSignal gives a signal of one process of this node to another.
func (n *Node) localSignal(ctl *dist.Control) { n.takeSignal(&Message{Control: *ctl}) }

// takeSignal handles a signal between processes, whichever node it comes from.
func (n *Node) takeSignal(m *Message) {
	b := n.procs.addressee(&m.Control)
	switch m.Op { // these mean something also where there is no such process
	case dist.OpLink, dist.OpMonitorP:
		if !n.bind(&m.Control) {
			n.noproc(&m.Control)
		}
	case dist.OpDemonitorP:
		n.procs.runs.unawaited(bonds.MonitorID{Ref: m.Ref, Node: m.From.Node})
		// the name has gone, or moved on
		if (b == nil || !b.unwatched(bonds.MonitorID{Ref: m.Ref, Node: m.From.Node})) && m.ToName != "" {
			n.procs.unwatchByFormerName(bonds.MonitorID{Ref: m.Ref, Node: m.From.Node})
		}
	// one of a peer is acknowledged in the same step as the link ends, one of this node by a signal
	// like any other
	case dist.OpUnlinkID:
		acknowledge := func() {}
		if m.conn != nil {
			acknowledge = func() { m.conn.acknowledge(&m.Control) }
		}
		if b == nil {
			acknowledge()
		} else {
			b.unlinked(m.From, acknowledge)
		}
		if m.conn == nil {
			n.localSignal(&dist.Control{Op: dist.OpUnlinkIDAck, ID: m.ID, From: m.To, To: m.From})
		}
	case dist.OpSpawnReply:
		n.takeSpawnReply(b, m)
	case dist.OpMonitorPExit:
		if b != nil {
			b.watcherOf(m.Ref).takeDown(m)
		}
	default:
		if b != nil {
			b.takeSignal(m)
		}
	}
}

// takeSignal handles a signal that concerns this process alone.
func (b *Mailbox) takeSignal(m *Message) {
	switch m.Op {
	case dist.OpUnlink: // the old protocol has no acknowledgement
		b.unlinked(m.From, func() {})
	case dist.OpUnlinkIDAck:
		b.unlinkDone(m.From, m.ID)
	case dist.OpExit:
		b.linkBroke(m.From, m.Reason, m.conn)
	case dist.OpExit2:
		b.exitSignal(&m.Control, m.conn)
	}
}

// bind handles a LINK or MONITOR_P; false if there is no such process.
func (n *Node) bind(ctl *dist.Control) bool {
	b := n.procs.addressee(ctl)
	switch {
	case b == nil:
		return false
	case ctl.Op == dist.OpLink:
		return b.linked(ctl.From)
	}
	return b.watched(ctl.Ref, bonds.Watcher{Pid: ctl.From, Name: ctl.ToName})
}

// noproc answers a LINK to, or a MONITOR_P of, a process that does not exist.
func (n *Node) noproc(ctl *dist.Control) {
	reason := exitReason(ei.Atom("noproc"))
	if ctl.Op == dist.OpLink {
		n.tell(bonds.LinkExit(ctl.To, ctl.From, reason))
	} else {
		n.tell(bonds.Down(ctl.To, bonds.Watcher{Pid: ctl.From, Name: ctl.ToName}, ctl.Ref, reason))
	}
}

// tell sends a signal without waiting, and only if there is a connection: without one the other
// side knows already.
func (n *Node) tell(ctl *dist.Control) {
	switch c, here := n.wayTo(n.scopeOf(ctl.To)); {
	case here:
		n.localSignal(ctl)
	case c != nil:
		c.tell(ctl)
	}
}
