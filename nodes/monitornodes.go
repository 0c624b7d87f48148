package nodes

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/peers"
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
	case c.kind() != inside.Direct:
		return 0
	case c.l.Peer().Flags.Has(dist.FlagPublished):
		return VisibleNodes
	}
	return HiddenNodes
}

// A roster is of which nodes somebody knows that they are up: a process that MonitorNodes reports
// to, or a loop over WatchNodes.
type roster struct {
	types NodeTypes      // that are reported
	up    map[*Conn]bool // those that were reported as up
}

// hears tells whether a connection is to be reported that was not yet.
func (s *roster) hears(c *Conn) bool {
	return c.nodeType()&s.types != 0 && !s.up[c] && c.Err() == nil
}

// noteUp notes that a connection is reported as up.
func (s *roster) noteUp(c *Conn) { lazymap.Put(&s.up, c, true) }

// noteDown notes that a connection has ended; false: it was not reported.
func (s *roster) noteDown(c *Conn) bool {
	knew := s.up[c]
	delete(s.up, c)
	return knew
}

// nodeBonds are what a process is to hear of connections: one nodedown for each call of
// MonitorNode, and what MonitorNodes reports.
type nodeBonds struct {
	downs map[*Conn]int // whose nodedown MonitorNode asked for, and how often
	roster
	away map[string]NodeTypes // the nodes of connections on the roster that have moved to another process
}

// owe notes that the process is to get count more nodedowns when a connection ends.
func (s *nodeBonds) owe(c *Conn, count int) { lazymap.Put(&s.downs, c, s.downs[c]+count) }

// owed lists how many there are to be about a node, or about all if it is empty.
func (s *nodeBonds) owed(node string) (all []states.Down) {
	for c, count := range s.downs {
		if node == "" || node == c.Name() {
			all = append(all, states.Down{Node: c.Name(), Count: count})
		}
	}
	return all
}

// awaited is a connection with a node whose nodedown the process is to get; nil: there is none.
func (s *nodeBonds) awaited(node string) (c *Conn) {
	for other := range s.downs {
		if other.Name() == node {
			c = other
		}
	}
	return c
}

// waive takes one nodedown back; false: none was owed.
func (s *nodeBonds) waive(c *Conn) bool {
	count := s.downs[c]
	if count > 1 {
		s.downs[c] = count - 1
	} else {
		delete(s.downs, c)
	}
	return count > 0
}

// settle says how many nodedowns are owed now that a connection has ended, and owes none any more.
func (s *nodeBonds) settle(c *Conn) int {
	count := s.downs[c]
	delete(s.downs, c)
	return count
}

// watch has these types reported from now on, and returns the connections of which the process
// knows already.
func (s *nodeBonds) watch(types NodeTypes) map[*Conn]bool {
	s.types, s.away = types&AllNodes, nil
	known := map[*Conn]bool{}
	for c := range s.up {
		if c.nodeType()&types == 0 {
			delete(s.up, c)
		} else {
			known[c] = true
		}
	}
	return known
}

// noteUp notes that the process knows that a connection is up; back: it never heard that the node
// was away.
func (s *nodeBonds) noteUp(c *Conn) (back bool) {
	s.roster.noteUp(c)
	back = s.away[c.Name()] == c.nodeType()
	delete(s.away, c.Name())
	return back
}

// depart forgets a connection that has moved to another process.
func (s *nodeBonds) depart(c *Conn) {
	delete(s.downs, c)
	if s.noteDown(c) {
		lazymap.PutFew(&s.away, c.Name(), c.nodeType(), peers.MaxAway)
	}
}

// forget ends MonitorNodes.
func (s *nodeBonds) forget() { s.roster, s.away = roster{}, nil }

// moveTo gives everything to a process that goes on in the place of this one.
func (s *nodeBonds) moveTo(to *nodeBonds) {
	for c, count := range s.downs {
		to.owe(c, count)
	}
	to.types |= s.types
	for c := range s.up {
		to.roster.noteUp(c)
	}
	*s = nodeBonds{}
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
	known := b.nodes.watch(types)
	b.mu.Unlock()
	conns := b.n.connections()
	b.lock() // what has begun comes to its end, whatever becomes of ctx
	defer b.mu.Unlock()
	for _, c := range conns {
		if b.nodes.hears(c) {
			b.nodes.noteUp(c)
			known[c] = true
		}
	}
	for c := range known {
		if b.nodes.up[c] {
			up = append(up, c.Name())
		}
	}
	slices.Sort(up)
	return up, nil
}

// tellUp tells the mailboxes and loops that have asked for it that a connection is up. If it ends
// at the same time they hear of both, or of neither.
func (n *Node) tellUp(c *Conn) {
	if c.nodeType() == 0 {
		return
	}
	n.watches.hearUp(c)
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
	if b.nodes.hears(c) && !b.nodes.noteUp(c) {
		b.tellNode("nodeup", c.Name(), c.nodeType())
	}
}

// tellNodedown is the counterpart of tellNodeup.
func (b *Mailbox) tellNodedown(c *Conn) {
	b.lock()
	defer b.mu.Unlock()
	if b.nodes.noteDown(c) {
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
	if b.nodes.watch(types); b.nodes.types != 0 {
		b.n.procs.told.Store(true)
	}
	for _, s := range known {
		if c := b.n.Conn(s.Node); c != nil && c.nodeType() == typeOf(&s) {
			b.nodes.noteUp(c)
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
	if of := typeOf(&s); b.nodes.types&of != 0 {
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
		w := &nodeWatch{known: roster{types: AllNodes}, behind: true}
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
	lazymap.Put(&s.all, w, true)
	s.some.Store(true) // before the loop looks which connections there are
}

func (s *nodeWatches) remove(w *nodeWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, w)
}

// hearUp tells the loops that a connection is up, hearDown that it has ended.
func (s *nodeWatches) hearUp(c *Conn) {
	s.tell(func(w *nodeWatch) { w.hear(c, w.noteUp) })
}

func (s *nodeWatches) hearDown(c *Conn) {
	s.tell(func(w *nodeWatch) { w.hear(c, w.noteDown) })
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
	known  roster // by the last of the events
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
	for c := range w.known.up {
		if c.Err() != nil {
			w.noteDown(c)
		}
	}
	w.mu.Unlock()
	for _, c := range connections() {
		w.mu.Lock()
		if !w.behind { // else an earlier connection of that node may still be known
			w.noteUp(c)
		}
		w.mu.Unlock()
	}
}

// hear notes what has become of a connection, if there is room for one more event.
func (w *nodeWatch) hear(c *Conn, note func(c *Conn)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.behind = w.behind || len(w.events) >= mostNodeEvents
	if !w.behind {
		note(c)
	}
}

// noteUp adds an event, unless the connection is known, or has ended; w.mu is held.
func (w *nodeWatch) noteUp(c *Conn) {
	if w.known.hears(c) {
		w.known.noteUp(c)
		w.note(NodeEvent{Node: c.Name(), Up: true, Type: c.nodeType()})
	}
}

// noteDown adds an event, if the connection is known; w.mu is held.
func (w *nodeWatch) noteDown(c *Conn) {
	if w.known.noteDown(c) {
		w.note(NodeEvent{Node: c.Name(), Type: c.nodeType(), Why: DownReasonOf(c.Err()), Err: c.Err()})
	}
}

func (w *nodeWatch) note(e NodeEvent) {
	w.events = append(w.events, e)
	w.change.Ring()
}
