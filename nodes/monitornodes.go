package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
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

// tellUp tells the mailboxes and loops that have asked for it that a connection is up. If it ends
// at the same time they hear of both, or of neither.
func (n *Node) tellUp(c *Conn) {
	if c.nodeType() == 0 {
		return
	}
	n.watches.tell(func(w *nodeWatch) { w.tellUp(c) })
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
	is := func(these ...error) bool {
		return slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) })
	}
	switch {
	case err == nil:
		return 0
	case is(ErrTickTimeout):
		return DownTickTimeout
	case is(ErrSuperseded):
		return DownSuperseded
	case is(ErrMoved):
		return DownMoved
	case is(ErrClosed):
		return DownClosedHere
	case is(io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE):
		return DownClosedThere
	}
	return DownBroken
}

// String says it in words.
func (r DownReason) String() string {
	switch r {
	case 0:
		return "none"
	case DownClosedThere:
		return "closed by the peer"
	case DownClosedHere:
		return "closed here"
	case DownTickTimeout:
		return "tick time-out"
	case DownSuperseded:
		return "superseded"
	case DownMoved:
		return "moved to another process"
	}
	return "broken"
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
		w := &nodeWatch{up: map[*Conn]bool{}, behind: true}
		n.watches.add(w)
		defer n.watches.remove(w)
		for {
			e, ok := w.next(ctx, n)
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// mostNodeEvents is how many events wait for a loop.
const mostNodeEvents = 1024

// nodeWatches are the loops over WatchNodes.
type nodeWatches struct {
	some atomic.Bool // there has been one
	mu   sync.Mutex
	all  map[*nodeWatch]bool
}

func (s *nodeWatches) add(w *nodeWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	put(&s.all, w, true)
	s.some.Store(true) // before the loop looks which connections there are
}

func (s *nodeWatches) remove(w *nodeWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, w)
}

// tell calls what for every loop.
func (s *nodeWatches) tell(what func(w *nodeWatch)) {
	if !s.some.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.all {
		what(w)
	}
}

// A nodeWatch is what one loop has yet to be told.
type nodeWatch struct {
	mu     sync.Mutex
	up     map[*Conn]bool // by the last of the events
	events []NodeEvent
	behind bool // no events are kept until the loop has had those that there are: see catchUp
	change wait.Bell
}

// next waits for an event; false: the loop is over.
func (w *nodeWatch) next(ctx context.Context, n *Node) (NodeEvent, bool) {
	for {
		w.mu.Lock()
		behind, change := w.behind, w.change.Next()
		if len(w.events) > 0 && ctx.Err() == nil && n.Err() == nil {
			e := w.events[0]
			w.events = w.events[1:]
			w.mu.Unlock()
			return e, true
		}
		w.mu.Unlock()
		if behind {
			w.catchUp(n.connections)
			continue
		}
		select {
		case <-change:
		case <-n.Done():
			return NodeEvent{}, false
		case <-wait.Cancelled(ctx):
			return NodeEvent{}, false
		}
	}
}

// catchUp makes events of the difference between what the loop knows and what is. What happens
// after the look at the connections is told once more, or for the first time.
func (w *nodeWatch) catchUp(connections func() []*Conn) {
	w.mu.Lock()
	w.behind = false
	for c := range w.up {
		if c.Err() != nil {
			w.noteDown(c)
		}
	}
	w.mu.Unlock()
	for _, c := range connections() {
		w.mu.Lock()
		if !w.behind { // else an earlier connection of that node may still be in w.up
			w.noteUp(c)
		}
		w.mu.Unlock()
	}
}

func (w *nodeWatch) tellUp(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keeps() {
		w.noteUp(c)
	}
}

func (w *nodeWatch) tellDown(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keeps() && w.up[c] {
		w.noteDown(c)
	}
}

// keeps tells whether there is room for one more event; w.mu is held.
func (w *nodeWatch) keeps() bool {
	w.behind = w.behind || len(w.events) >= mostNodeEvents
	return !w.behind
}

// noteUp adds an event, unless the connection is known, or has ended; w.mu is held.
func (w *nodeWatch) noteUp(c *Conn) {
	if t := c.nodeType(); t != 0 && !w.up[c] && c.Err() == nil {
		w.up[c] = true
		w.note(NodeEvent{Node: c.peer.Name, Up: true, Type: t})
	}
}

// noteDown adds an event; w.mu is held.
func (w *nodeWatch) noteDown(c *Conn) {
	delete(w.up, c)
	w.note(NodeEvent{Node: c.peer.Name, Type: c.nodeType(), Why: DownReasonOf(c.Err()), Err: c.Err()})
}

func (w *nodeWatch) note(e NodeEvent) {
	w.events = append(w.events, e)
	w.change.Ring()
}
