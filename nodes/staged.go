package nodes

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A Staged is a node that another process has frozen, ready to go on in this one. It has read,
// written and said nothing. Start or Discard must be called.
type Staged struct {
	n           *Node
	conns       []*Conn
	listeners   []*Listener
	orphans     []states.Bonds
	owed        map[*Mailbox][]states.Down    // nodedowns of nodes that there is no connection to
	lost        map[*Mailbox][]states.Up      // such nodes that MonitorNodes has reported as up
	left        map[*Mailbox][]states.Watcher // whose calls the process before has left for later
	published   bool
	publication stagedPublication
	over        atomic.Bool
	exports     [][]byte // those of conns, within the state
}

// Node is the node. Until Start it neither receives nor sends.
func (g *Staged) Node() *Node { return g.n }

// Mailboxes lists the old node's mailboxes that no registration has taken over, by their pids.
// After Start they can be received from, and they keep their names; close those that are not
// wanted. Of those that had a Server or a Handler, Start warns in the log: their callers wait for
// somebody who goes on with them.
func (g *Staged) Mailboxes() []*Mailbox { return g.n.procs.heirless(nil) }

// Start lets the node go on. ctx bounds a registration that has to be made anew. If that fails, the
// node runs all the same; ErrClosed if it has been closed meanwhile. Keys that plug-ins had put
// into the state are cleared in it.
func (g *Staged) Start(ctx context.Context) error {
	late, lost, err := g.open()
	if err != nil {
		return err
	}
	return g.goOn(ctx, late, lost)
}

// open lets mailboxes take messages again, and the node send: the first half of Start. late and
// lost are what goOn is to tell processes.
func (g *Staged) open() (late map[*Mailbox][]*Message, lost map[*Mailbox]broken, err error) {
	if !g.over.CompareAndSwap(false, true) {
		return nil, nil, wrap("start", g.n.name, ErrStarted)
	}
	for _, export := range g.exports { // the connections have them
		clear(export)
	}
	g.n.procs.endSuccession()
	boxes := g.n.procs.all()
	lost = g.breakOff(boxes) // before a peer can have connected anew
	late = openAll(boxes)
	g.letGo()
	return late, lost, nil
}

// goOn tells processes what they have to be told, and lets the node receive.
func (g *Staged) goOn(ctx context.Context, late map[*Mailbox][]*Message, lost map[*Mailbox]broken) error {
	defer g.n.life.EndStart()
	for b, messages := range late {
		for _, m := range messages {
			b.own(b, m)
		}
	}
	g.disownOrphans()
	g.forsake()
	g.tellWhatBroke(lost)
	g.receive() // after what the node itself has to say about what broke
	err := g.publish(ctx)
	for _, c := range g.conns { // now nobody waits for it
		c.logAdopted()
	}
	g.n.warnOfHeirless()
	return wrap("start", g.n.name, err)
}

// openAll lets mailboxes take messages again. The node's own are emptied first: late is what was in
// them.
func openAll(boxes []*Mailbox) (late map[*Mailbox][]*Message) {
	late = map[*Mailbox][]*Message{}
	for _, b := range boxes {
		if b.own != nil {
			late[b] = b.takeAll()
		}
		b.goOn()
	}
	return late
}

// letGo lets the node send.
func (g *Staged) letGo() {
	g.n.life.Set(life.Open)
	if g.n.started.Load() {
		g.n.drain.reach(StateRunning)
	}
	for _, c := range g.conns {
		c.resume()
	}
}

// disownOrphans ends, towards peers, what they had with processes that have not moved along.
func (g *Staged) disownOrphans() {
	for _, c := range g.conns {
		for i := range g.orphans {
			c.disown(&g.orphans[i])
		}
	}
}

// forsake tells the callers that are not answered here.
func (g *Staged) forsake() {
	for b, callers := range g.left {
		if heir := g.n.procs.local(b.pid); heir != nil {
			heir.forsake(callers)
		}
	}
}

// tellWhatBroke tells processes what breakOff has broken, and gives them the nodedowns that the old
// process owed them.
func (g *Staged) tellWhatBroke(lost map[*Mailbox]broken) {
	for b, x := range lost {
		b.lock()
		b.notifyUnlock(x.downs)
		b.loseLinks(x.links)
	}
	for b, owed := range g.owed {
		if heir := g.n.procs.local(b.pid); heir != nil {
			for _, d := range owed {
				heir.lock()
				heir.sendNodedown(d.Node, d.Count)
			}
		}
	}
}

// receive lets the node read from its connections, and accept.
func (g *Staged) receive() {
	for _, c := range g.conns {
		g.n.attach(c)
	}
	for _, l := range g.listeners {
		l.resume()
	}
}

// takeAll empties the queue of a staged mailbox.
func (b *Mailbox) takeAll() []*Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Collect(b.inbox.Unread())
	b.inbox.Clear()
	return all
}

// breakOff breaks what processes have with nodes whose connections did not move along: they broke
// while the node was frozen. It returns what the mailboxes, which are staged, are to be told when
// they go on.
func (g *Staged) breakOff(boxes []*Mailbox) map[*Mailbox]broken {
	n := g.n
	all := map[*Mailbox]broken{}
	for _, b := range boxes {
		if x := b.breakOff(); len(x.links)+len(x.downs) > 0 {
			all[b] = x
		}
	}
	for b, lost := range g.lost {
		if heir := n.procs.local(b.pid); heir != nil {
			for _, s := range lost {
				heir.tellLost(s)
			}
		}
	}
	return all
}

// breakOff breaks what the staged mailbox has with nodes that there is no connection to.
func (b *Mailbox) breakOff() (x broken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bonds.None() {
		return x
	}
	for node := range b.bonds.Nodes() {
		if node != b.n.name && b.n.Conn(node) == nil {
			more := b.cut(bonds.Scope{Node: node})
			x.links, x.downs = append(x.links, more.links...), append(x.downs, more.downs...)
		}
	}
	return x
}

// publish goes on with the registration, or makes a new one.
func (g *Staged) publish(ctx context.Context) error {
	if g.publication != nil {
		return g.n.publishing.keep(ctx, g.publication.Start(), g.announced())
	}
	if pub, ok := g.n.cfg.Resolver.(Publisher); ok && g.published {
		return g.n.publishing.publish(ctx, pub, g.announced())
	}
	return nil
}

// Discard gives the node up without sending a byte on any connection: the node belongs to the other
// process, and its Err is ErrMoved from then on. Listeners that Setup has opened are closed.
// Discard returns when the node's goroutines have ended, or after a second. Its error joins those
// of sockets and of the registration that could not be freed properly; they are given up all the
// same. After Start, and when called again, Discard does nothing.
func (g *Staged) Discard() error {
	if !g.over.CompareAndSwap(false, true) {
		return nil
	}
	n := g.n
	defer n.life.EndStart()
	n.mu.Lock()
	n.endUnlock(ErrMoved)
	var errs []error
	for _, c := range g.conns {
		errs = append(errs, c.giveUp(false))
	}
	for _, l := range g.listeners {
		errs = append(errs, l.release())
	}
	for _, l := range n.Listeners() { // Setup has opened them
		errs = append(errs, l.Close())
	}
	if g.publication != nil {
		errs = append(errs, g.publication.Discard())
	}
	n.procs.moveOut()
	n.life.Set(life.Open)
	n.awaitGoroutines()
	return wrap("discard", n.name, errors.Join(errs...))
}
