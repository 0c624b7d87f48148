package nodes

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/life"
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

// String is visible, hidden, visible|hidden, or none.
func (t NodeTypes) String() string {
	switch t & AllNodes {
	case 0:
		return "none"
	case AllNodes:
		return "visible|hidden"
	}
	return string(t.atom())
}

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
	case c.kind() != inside.Direct:
		return 0
	case c.l.Peer().Flags.Has(dist.FlagPublished):
		return VisibleNodes
	}
	return HiddenNodes
}

// reported is a connection as those see it who are told which nodes are up.
type reported struct{ *Conn }

// Type is the type of the node at the other end.
func (c reported) Type() int { return int(c.nodeType()) }

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
// while the node is frozen, until ctx ends. It is net_kernel:monitor_nodes/2.
func (b *Mailbox) MonitorNodes(ctx context.Context, types NodeTypes) (up []string, err error) {
	if err := b.lockBefore(ctx, life.Frozen); err != nil {
		return nil, wrap("monitor nodes", "", err)
	}
	if b.ended() {
		b.mu.Unlock()
		return nil, wrap("monitor nodes", "", b.Err())
	}
	b.n.procs.told.Store(true) // from here on tellUp misses no mailbox
	known := b.nodes.Watch(int(types & AllNodes))
	b.mu.Unlock()
	conns := b.n.reported()
	b.lock() // what has begun comes to its end, whatever becomes of ctx
	defer b.mu.Unlock()
	for _, c := range conns {
		if b.nodes.Hears(c) {
			b.nodes.NoteUp(c)
			known[c] = true
		}
	}
	for c := range known {
		if b.nodes.Up[c] {
			up = append(up, c.Name())
		}
	}
	slices.Sort(up)
	return up, nil
}

// reported lists the connections.
func (n *Node) reported() []reported {
	all := n.peers.Conns()
	conns := make([]reported, len(all))
	for i, c := range all {
		conns[i] = reported{fromTable(c)}
	}
	return conns
}

// tellUp tells the mailboxes and loops that have asked for it that a connection is up. If it ends
// at the same time they hear of both, or of neither.
func (n *Node) tellUp(c *Conn) {
	if c.nodeType() == 0 {
		return
	}
	n.watches.HearUp(reported{c})
	if !n.procs.told.Load() {
		return
	}
	for _, b := range n.procs.all() {
		b.tellNodeup(c)
	}
}

func (b *Mailbox) tellNodeup(c *Conn) {
	b.lock()
	defer b.mu.Unlock()
	if r := (reported{c}); b.nodes.Hears(r) && !b.nodes.NoteUp(r) {
		b.tellNode("nodeup", c.Name(), c.nodeType())
	}
}

// tellNodedown is the counterpart of tellNodeup.
func (b *Mailbox) tellNodedown(c *Conn) {
	b.lock()
	defer b.mu.Unlock()
	if b.nodes.NoteDown(reported{c}) {
		b.tellNode("nodedown", c.Name(), c.nodeType())
	}
}

// tellNode puts a message about a node into the mailbox, whatever its limit; b.mu is held.
func (b *Mailbox) tellNode(what ei.Atom, node string, t NodeTypes) {
	payload, err := ei.Append(nil, ei.Tuple{what, ei.Atom(node), ei.List{ei.Tuple{ei.Atom("node_type"), t.atom()}}})
	if err == nil && !b.ended() {
		b.push(&Message{Control: dist.Control{Op: dist.OpSend, To: b.pid}, Payload: payload})
	}
}

// tieNodes gives the mailbox what an earlier one of its pid knew of the nodes that are up; lost are
// those to which there is no connection.
func (b *Mailbox) tieNodes(types NodeTypes, known []states.Up) (lost []states.Up) {
	if b.nodes.Watch(int(types & AllNodes)); b.nodes.Types != 0 {
		b.n.procs.told.Store(true)
	}
	for _, s := range known {
		if c := b.n.Conn(s.Node); c != nil && c.nodeType() == typeOf(&s) {
			b.nodes.NoteUp(reported{c})
		} else {
			lost = append(lost, s)
		}
	}
	return lost
}

// tellLost reports a node that was lost on the way to this process. The mailbox is still staged, so
// the node cannot have come up anew yet.
func (b *Mailbox) tellLost(s states.Up) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of := typeOf(&s); b.nodes.Types&int(of) != 0 {
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

// A NodeEvent says that another node has come up, or gone down.
type NodeEvent struct {
	Node string
	Up   bool
	Type NodeTypes  // VisibleNodes or HiddenNodes
	Why  DownReason // of a node that has gone down
	Err  error      // the same in full: Conn.Err of the connection that has ended
}

// String is "node x@host up (hidden)", or "node x@host down (hidden): tick time-out".
func (e NodeEvent) String() string {
	if e.Up {
		return fmt.Sprintf("node %s up (%v)", e.Node, e.Type)
	}
	return fmt.Sprintf("node %s down (%v): %v", e.Node, e.Type, e.Why)
}

// A DownReason is why a connection has ended, and the node at its other end has gone down with it.
type DownReason int

// The reasons; 0 is none: the connection is up.
const (
	DownBroken      DownReason = iota + 1 // the network, or the peer, has broken it: see Conn.Err
	DownClosedThere                       // the peer has closed it, or has ended
	DownClosedHere                        // Conn.Close or Conn.Shutdown on this side
	DownTickTimeout                       // the peer was silent for too long
	DownSuperseded                        // a newer connection of the peer has replaced it
	DownMoved                             // it goes on in another process, alone: see Conn.Detach
)

// DownReasonOf sorts the error with which a connection has ended, that of Conn.Err. It is 0 for
// nil.
func DownReasonOf(err error) DownReason {
	if err == nil {
		return 0
	}
	_, why := endOf(err)
	return why
}

// String says it in words.
func (r DownReason) String() string {
	for _, end := range endings() {
		if end.why == r {
			return end.text
		}
	}
	return "none"
}

// WatchNodes yields an event for every node that is up now, and then one for every node that comes
// up or goes down, hidden ones too. For one node ups and downs come in turn; by its down, processes
// here have been told that their links and monitors with it are broken. The loop ends when ctx
// ends, or the node does, as all loops of this module do: ctx.Err() and Node.Err say which it was.
// Under transport.NoWait it ends after the nodes that are up now.
//
// Nothing waits for the loop's body. While it runs, up to 1,024 events are kept for it; beyond
// that, it gets what has become of the nodes in the end, and misses what came between.
//
// While the node is frozen nothing comes, and after Thaw the loop goes on. If another process goes
// on as the node, the loop ends, and one there begins with the nodes that are up; a connection that
// moves alone is a down, DownMoved, though the peer sees none. In a node with workers each worker
// yields the connections that it has. Mailbox.MonitorNodes gives the same to a process, as
// messages.
func (n *Node) WatchNodes(ctx context.Context) iter.Seq[NodeEvent] {
	return func(yield func(NodeEvent) bool) {
		w := n.watches.Begin(int(AllNodes))
		defer n.watches.End(w)
		for {
			c, ok := w.Next(ctx, n.ctx, n.reported)
			if !ok {
				return
			}
			e := NodeEvent{Node: c.Conn.Name(), Up: c.Up, Type: c.Conn.nodeType()}
			if !e.Up {
				e.Why, e.Err = DownReasonOf(c.Conn.Err()), c.Conn.Err()
			}
			if !yield(e) {
				return
			}
		}
	}
}
