package nodes

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/mapper"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A Staged is a node that another process has frozen, ready to go on in this one. It has read,
// written and said nothing. Start or Discard must be called.
type Staged struct {
	n           *Node
	conns       []*Conn
	listeners   []*Listener
	orphans     []states.Bonds
	dues        map[ei.Pid]*dues
	published   bool
	publication *mapper.Staged // nil: none moves
	over        atomic.Bool
	exports     [][]byte // those of conns, within the state
}

// dues are what a process is to hear when the node goes on.
type dues struct {
	nodedowns []states.Down    // of nodes that there is no connection to
	ups       []states.Up      // such nodes that MonitorNodes has reported as up
	callers   []states.Watcher // whose calls the process before has left for later
	late      []*Message       // what has come to one of the node's own
	broken                     // what it had with such nodes: their connections broke during the freeze
}

// due are the dues of a process, made if need be.
func (g *Staged) due(pid ei.Pid) *dues {
	if g.dues[pid] == nil {
		g.dues[pid] = &dues{}
	}
	return g.dues[pid]
}

// heirs yields the processes that have dues.
func (g *Staged) heirs(yield func(*Mailbox, *dues) bool) {
	for pid, d := range g.dues {
		if b := g.n.procs.local(pid); b != nil && !yield(b, d) {
			return
		}
	}
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
	if err := g.open(); err != nil {
		return err
	}
	return g.goOn(ctx)
}

// open lets mailboxes take messages again, and the node send: the first half of Start. The node's
// own are emptied first.
func (g *Staged) open() error {
	if !g.over.CompareAndSwap(false, true) {
		return wrap("start", g.n.name, ErrStarted)
	}
	for _, export := range g.exports { // the connections have them
		clear(export)
	}
	g.n.procs.endSuccession()
	boxes := g.n.procs.all()
	for _, b := range boxes { // before a peer can have connected anew
		if x := b.breakOff(); len(x.links)+len(x.downs) > 0 {
			g.due(b.pid).broken = x
		}
	}
	for b, d := range g.heirs {
		for _, s := range d.ups {
			b.tellLost(s)
		}
	}
	for _, b := range boxes {
		if b.own != nil {
			g.due(b.pid).late = b.takeAll()
		}
		b.goOn()
	}
	g.letGo()
	return nil
}

// goOn tells processes what they have to be told, and lets the node receive.
func (g *Staged) goOn(ctx context.Context) error {
	defer g.n.life.EndStart()
	for b, d := range g.heirs {
		for _, m := range d.late {
			b.own(b, m)
		}
	}
	for _, c := range g.conns { // what peers had with processes that have not moved along
		for i := range g.orphans {
			c.disown(&g.orphans[i])
		}
	}
	for b, d := range g.heirs {
		b.forsake(d.callers)
	}
	for b, d := range g.heirs {
		b.lock()
		b.notifyUnlock(d.downs)
		b.loseLinks(d.links)
		for _, down := range d.nodedowns {
			b.lock()
			b.sendNodedown(down.Node, down.Count)
		}
	}
	g.receive() // after what the node itself has to say about what broke
	err := g.publish(ctx)
	for _, c := range g.conns { // now nobody waits for it
		c.logAdopted()
	}
	g.n.warnOfHeirless()
	g.dues = nil // whoever keeps the Staged need not keep what came late
	return wrap("start", g.n.name, err)
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

// breakOff breaks what the staged mailbox has with nodes that there is no connection to, and
// returns what the mailbox is to be told when it goes on.
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
	errs = append(errs, n.releaseListeners(g.listeners))
	if g.publication != nil {
		errs = append(errs, g.publication.Discard())
	}
	n.procs.moveOut()
	n.life.Set(life.Open)
	n.awaitGoroutines()
	return wrap("discard", n.name, errors.Join(errs...))
}
