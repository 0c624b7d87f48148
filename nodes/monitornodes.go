package nodes

import (
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// NodeTypes are the types of nodes that MonitorNodes reports. As in OTP, a node is visible if both
// sides are, otherwise hidden: to a hidden node (see Config.Visible) all others are hidden.
type NodeTypes int

// The types, as OTP's option node_type has them.
const (
	VisibleNodes NodeTypes = 1 << iota
	HiddenNodes
	AllNodes = VisibleNodes | HiddenNodes
)

func (t NodeTypes) atom() ei.Atom {
	if t == VisibleNodes {
		return "visible"
	}
	return "hidden"
}

// nodeType is the type of the node at the other end; 0 if MonitorNodes does not report it, because
// it is another worker, or a node that another worker has the connection to.
func (c *Conn) nodeType() NodeTypes {
	switch {
	case c.kind() != direct:
		return 0
	case c.peer.Flags.Has(dist.FlagPublished):
		return VisibleNodes
	}
	return HiddenNodes
}

// MonitorNodes reports to the mailbox every node of these types that comes up or goes down, until
// it is called with other types, or 0. The messages are {nodeup, Node, [{node_type, visible |
// hidden}]} and, likewise, {nodedown, …}; the mailbox's limit does not apply to them. up lists the
// nodes that are already connected: the next message about one of these is its nodedown, unless its
// nodeup, of an earlier call, is still unread. A nodeup comes before everything that the node
// sends, its nodedown after all of it.
//
// A node that moves to another process goes on reporting there; a connection that moves alone
// causes no nodedown in the old process, and no nodeup there if the peer has a connection with it
// again. In a node with workers each worker reports the connections that it has. MonitorNodes waits
// while the node is frozen. It is net_kernel:monitor_nodes/2.
func (b *Mailbox) MonitorNodes(types NodeTypes) (up []string, err error) {
	b.lock()
	if b.ended() {
		b.mu.Unlock()
		return nil, wrap("monitor nodes", "", b.Err())
	}
	b.nodeTypes, b.nodesAway = types&AllNodes, nil
	b.n.procs.told.Store(true) // from here on tellUp misses no mailbox
	known := map[*Conn]bool{}
	for c := range b.nodesUp {
		if c.nodeType()&types == 0 {
			delete(b.nodesUp, c)
		} else {
			known[c] = true
		}
	}
	b.mu.Unlock()
	conns := b.n.connections()
	b.lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		if !b.nodesUp[c] && c.nodeType()&b.nodeTypes != 0 && c.Err() == nil {
			b.noteUp(c)
			known[c] = true
		}
	}
	for c := range known {
		if b.nodesUp[c] {
			up = append(up, c.peer.Name)
		}
	}
	slices.Sort(up)
	return up, nil
}

// noteUp notes that the mailbox knows that a connection is up; b.mu is held.
func (b *Mailbox) noteUp(c *Conn) {
	put(&b.nodesUp, c, true)
}

// tellUp tells the mailboxes that have asked for it that a connection is up. If it ends at the same
// time they hear of both, or of neither.
func (n *Node) tellUp(c *Conn) {
	if !n.procs.told.Load() || c.nodeType() == 0 {
		return
	}
	for _, b := range n.procs.all() {
		b.tellNodeup(c)
	}
}

func (b *Mailbox) tellNodeup(c *Conn) {
	b.lock()
	defer b.mu.Unlock()
	if c.nodeType()&b.nodeTypes == 0 || b.nodesUp[c] || c.Err() != nil {
		return
	}
	b.noteUp(c)
	back := b.nodesAway[c.peer.Name] == c.nodeType()
	delete(b.nodesAway, c.peer.Name)
	if !back {
		b.tellNode("nodeup", c.peer.Name, c.nodeType())
	}
}

// tellNodedown is the counterpart of tellNodeup.
func (b *Mailbox) tellNodedown(c *Conn) {
	b.lock()
	defer b.mu.Unlock()
	if b.nodesUp[c] {
		delete(b.nodesUp, c)
		b.tellNode("nodedown", c.peer.Name, c.nodeType())
	}
}

// tellNode puts a message about a node into the mailbox, whatever its limit; b.mu is held.
func (b *Mailbox) tellNode(what ei.Atom, node string, t NodeTypes) {
	payload, err := ei.Append(nil, ei.Tuple{what, ei.Atom(node), ei.List{ei.Tuple{ei.Atom("node_type"), t.atom()}}})
	if err == nil && !b.ended() {
		b.pushLocked(&Message{Control: dist.Control{Op: dist.OpSend, To: b.pid}, Payload: payload})
	}
}

// tieNodes gives the mailbox what an earlier one of its pid knew of the nodes that are up; lost are
// those to which there is no connection.
func (b *Mailbox) tieNodes(types NodeTypes, known []states.Up) (lost []states.Up) {
	if b.nodeTypes = types & AllNodes; b.nodeTypes != 0 {
		b.n.procs.told.Store(true)
	}
	for _, s := range known {
		if c := b.n.Conn(s.Node); c != nil && c.nodeType() == typeOf(&s) {
			b.noteUp(c)
		} else {
			lost = append(lost, s)
		}
	}
	return lost
}

// passNodesTo makes another mailbox go on with MonitorNodes in the place of this one; the mutexes
// of both are held.
func (b *Mailbox) passNodesTo(to *Mailbox) {
	to.nodeTypes |= b.nodeTypes
	for c := range b.nodesUp {
		to.noteUp(c)
	}
}

// tellLost reports a node that was lost on the way to this process. The mailbox is still staged, so
// the node cannot have come up anew yet.
func (b *Mailbox) tellLost(s states.Up) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of := typeOf(&s); b.nodeTypes&of != 0 {
		b.tellNode("nodedown", s.Node, of)
	}
}

// typeOf is the type of a node that a mailbox knew to be up.
func typeOf(s *states.Up) NodeTypes {
	if s.Visible {
		return VisibleNodes
	}
	return HiddenNodes
}
