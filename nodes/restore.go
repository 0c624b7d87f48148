package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// A Staged is a node that another process has frozen, ready to go on in this one. It has read, written and said nothing. Start or Discard
// must be called.
type Staged struct {
	n           *Node
	conns       []*Conn
	listeners   []*Listener
	orphans     []states.Bonds
	owed        map[*Mailbox][]states.Down // by nodes that there is no connection to
	lost        map[*Mailbox][]states.Up   // such nodes, of MonitorNodes
	published   bool
	publication StagedPublication
	over        atomic.Bool
	exports     [][]byte // of conns, in the state
	running     func()   // runs when the node goes on, before anybody is told anything; nil: nothing
}

// Restore makes a node from what Frozen has given in another process: its state, and duplicates of its descriptors, in the same order.
// Restore owns the descriptors from the call on: on failure it closes them. cfg is as for New; if it has a name, this must be the state's.
//
// Processes are found again by their names. If the old node had been started, Config.Setup is called, as by Start, and registers what peers
// expect to find: a mailbox, Handler or Server that is registered under a name of the old node becomes the process that had the name, with
// its pid, unread messages, links and monitors. (Ask for its Pid after that.) Staged.Mailboxes has the mailboxes that nobody takes over in
// this way, including nameless ones. Until Start nothing is received, and what is sent waits, as new connections do: Setup must not wait
// for any of it. It may link and monitor, once the name is registered. Inherited gives it what Config.Handover returned. Restore waits for
// Setup, and for nobody else.
//
// The errors are a *StateError (ErrState, ErrStateFormat, ErrStateField) for the state, or descriptors that do not fit it; ErrOtherNode for
// another name; ErrNoPlugin and *NotMovableError for a plug-in that cfg does not have, or that has no Import; errors.ErrUnsupported for a
// Resolver that cannot go on with the registration; and those of New, the plug-ins' Import and Setup.
func Restore(cfg Config, state []byte, descriptors []int) (*Staged, error) {
	fds := ownDescriptors(descriptors)
	s, err := restore(cfg, state, fds, successor{setup: (*Node).setup})
	if err != nil {
		return nil, wrap("restore", "", errors.Join(err, fds.close()))
	}
	return s, nil
}

// A successor says what else there is to a node that is restored.
type successor struct {
	first func(n *Node) error // makes it what it is, before it has anything
	setup func(n *Node) error // calls Setup, if the node was started
	parts bool                // it is a worker, and has ways to others
}

func restore(cfg Config, state []byte, fds *descriptorList, as successor) (*Staged, error) {
	var s states.Node
	if err := readState(states.KindNode, state, &s); err != nil {
		return nil, err
	}
	if cfg.Name == "" && cfg.Alive == "" {
		cfg.Name, cfg.Host = s.Name, ""
	}
	n, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if n.name != s.Name || dist.CheckName(s.Name) != nil {
		return nil, fmt.Errorf("%w: %q, and this is %q", ErrOtherNode, s.Name, n.name)
	}
	n.creation, n.used, n.settled = s.Creation, true, true
	n.staged.Store(true)
	n.frozen.Shut()
	n.started.Store(s.Started)
	blob := append([]byte{}, s.Blob...)
	n.inherited.Store(&blob)
	for i, c := range n.stats.all() {
		c.Store(s.Stats[i])
	}
	g := &Staged{n: n, orphans: s.Orphans, owed: map[*Mailbox][]states.Down{}, lost: map[*Mailbox][]states.Up{}, published: s.Published}
	if as.first != nil {
		err = as.first(n)
	}
	if err == nil {
		err = g.fill(&s, fds, as)
	}
	if err != nil {
		return nil, errors.Join(err, g.Discard())
	}
	return g, nil
}

// fill makes what the node has.
func (g *Staged) fill(s *states.Node, fds *descriptorList, as successor) error {
	n := g.n
	for i := range s.Conns {
		cs := &s.Conns[i]
		var err error
		switch {
		case cs.Worker == 0 && cs.Trunk == 0 && (!cs.Shadow || as.parts):
			err = g.connection(cs, fds)
		case as.parts:
			err = g.localConnection(cs, fds)
		default:
			err = &StateError{"connection", ErrState}
		}
		if err != nil {
			return wrap("connection to", cs.Peer.Name, err)
		}
	}
	for i := range s.Listeners {
		if err := g.listener(&s.Listeners[i], fds); err != nil {
			return wrap("listener", "", err)
		}
	}
	for i := range s.Mailboxes {
		b, lost, err := n.restoreMailbox(&s.Mailboxes[i])
		if err != nil {
			return err
		}
		g.lost[b] = lost
		for _, d := range s.Mailboxes[i].Bonds.Downs {
			if n.Conn(d.Node) == nil {
				g.owed[b] = append(g.owed[b], d)
			}
		}
	}
	n.ids.pid.Store(max(s.Pids, n.ids.pid.Load()))
	n.ids.ref.Store(s.Refs)
	if s.Publication != nil {
		if err := g.name(s.Publication, fds); err != nil {
			return wrap("registration", "", err)
		}
	}
	if err := fds.allTaken(); err != nil {
		return err
	}
	if s.Started {
		return as.setup(n)
	}
	return nil
}

// localConnection stages a way to another worker. That of a connection comes after it.
func (g *Staged) localConnection(s *states.Conn, fds *descriptorList) error {
	n := g.n
	if s.Self != n.name || s.SelfCreation != n.creation || s.Peer.Name != n.name || s.Shadow || s.Worker < 1 || s.Worker > maxPart ||
		s.Trunk < 0 || s.Trunk.Index() >= len(g.conns) || len(s.Bonds) > 0 {
		return &StateError{"connection", ErrState}
	}
	if s.Trunk > 0 && g.conns[s.Trunk.Index()].kind() != direct {
		return &StateError{"connection", ErrState}
	}
	c, err := g.stage(s, fds)
	if err != nil {
		return err
	}
	if s.Trunk == 0 {
		n.part.mu.Lock()
		defer n.part.mu.Unlock()
		n.part.siblings[s.Worker] = c
		return nil
	}
	c.trunk = g.conns[s.Trunk.Index()]
	c.trunk.branching.Lock()
	defer c.trunk.branching.Unlock()
	put(&c.trunk.branches, s.Worker, c)
	return nil
}

// stage stages one connection of any kind.
func (g *Staged) stage(s *states.Conn, fds *descriptorList) (*Conn, error) {
	fd, err := fds.takeOne(s.Descriptor)
	if err != nil {
		return nil, err
	}
	c, err := g.n.stage(s, fd)
	if err == nil {
		g.conns, g.exports = append(g.conns, c), append(g.exports, s.Export)
	}
	return c, err
}

// connection stages one connection, and puts it on the table.
func (g *Staged) connection(s *states.Conn, fds *descriptorList) error {
	n := g.n
	if s.Self != n.name || s.SelfCreation != n.creation || dist.CheckName(s.Peer.Name) != nil || len(s.Bonds) > 0 {
		return &StateError{"connection", ErrState}
	}
	n.mu.Lock()
	p := n.peerLocked(s.Peer.Name)
	taken := p.conn != nil
	n.mu.Unlock()
	if taken {
		return ErrConnected
	}
	c, err := g.stage(s, fds)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p.conn = c
	n.conns[c] = struct{}{}
	return nil
}

func (g *Staged) listener(s *states.Listener, fds *descriptorList) error {
	n := g.n
	tr, err := n.carrier(s.Carriage)
	if err != nil {
		return err
	}
	fd, err := fds.takeOne(s.Descriptor)
	if err != nil {
		return err
	}
	tl, err := tr.ImportListener(fd)
	if err != nil {
		return errors.Join(err, descriptor.Close(fd))
	}
	if s.KeepsPath {
		tl.KeepPath()
	}
	l := n.newListener(tr, tl)
	l.serves.Store(s.Serves)
	g.listeners = append(g.listeners, l)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[l] = struct{}{}
	return nil
}

// name stages the registration.
func (g *Staged) name(s *states.Publication, fds *descriptorList) error {
	adopter, ok := g.n.cfg.Resolver.(Adopter)
	if !ok {
		return fmt.Errorf("%T cannot go on with the registration of the process before: %w", g.n.cfg.Resolver, errors.ErrUnsupported)
	}
	own, err := fds.take(s.First, s.Descriptors)
	if err == nil {
		g.publication, err = adopter.Adopt(g.presence(), s.State, own)
	}
	return err
}

// presence is what is published of the node.
func (g *Staged) presence() Presence {
	var at transport.Addr
	for _, l := range g.listeners { // the first that Start opened, else the last
		at = l.Addr()
		if l.serves.Load() {
			break
		}
	}
	return g.n.presence(at)
}

// Node is the node. Until Start it neither receives nor sends.
func (g *Staged) Node() *Node { return g.n }

// Mailboxes lists the old node's mailboxes that no registration has taken over, by their pids. After Start they can be received from, and
// they keep their names; close those that are not wanted.
func (g *Staged) Mailboxes() []*Mailbox { return g.n.procs.heirless() }

// Start lets the node go on. A Handler in place of a mailbox gets the mailbox's unread messages, in order and before anything that peers
// send from now on; what processes of this node send meanwhile may overtake them. ctx bounds a registration that has to be made anew. If
// that fails, the node runs all the same; ErrClosed if it has been closed meanwhile. Keys that plug-ins had put into the state are cleared
// in it.
func (g *Staged) Start(ctx context.Context) error {
	if !g.over.CompareAndSwap(false, true) {
		return wrap("start", g.n.name, ErrStarted)
	}
	for _, export := range g.exports { // the connections have them
		clear(export)
	}
	g.n.procs.endSuccession()
	boxes := g.n.procs.all()
	lost := g.breakOff(boxes) // before anybody can have connected anew
	late := openAll(boxes)
	g.letGo()
	handleLate(late)
	g.disownOrphans()
	g.tellWhatBroke(lost)
	g.receive() // behind what the node itself has to say of the time before
	return wrap("start", g.n.name, g.publish(ctx))
}

// openAll lets mailboxes take messages again. Those with a Handler, which the old process may not have had, are empty before: late is what
// was in them.
func openAll(boxes []*Mailbox) (late map[*Mailbox][]*Message) {
	late = map[*Mailbox][]*Message{}
	for _, b := range boxes {
		if b.handler != nil {
			late[b] = b.takeAll()
		}
		b.unhold()
	}
	return late
}

// letGo lets the node send, and what was staged beside it go on.
func (g *Staged) letGo() {
	g.n.staged.Store(false)
	g.n.frozen.Open()
	for _, c := range g.conns {
		c.resume()
	}
	if g.running != nil {
		g.running()
	}
}

// handleLate gives Handlers what has come before they were there. They may answer.
func handleLate(late map[*Mailbox][]*Message) {
	for b, messages := range late {
		for _, m := range messages {
			if !b.ended() {
				apart(func() { b.handleNow(m) })
			}
		}
	}
}

// disownOrphans ends, towards peers, what they had with processes that have not come along.
func (g *Staged) disownOrphans() {
	for _, c := range g.conns {
		for i := range g.orphans {
			c.disown(&g.orphans[i])
		}
	}
}

// tellWhatBroke tells processes what breakOff has broken, and the nodedowns that the old process owed them.
func (g *Staged) tellWhatBroke(lost map[*Mailbox]broken) {
	var after aftermath
	for b, x := range lost {
		b.tellBroken(x, &after)
	}
	for b, owed := range g.owed {
		if heir := g.n.procs.local(b.pid); heir != nil {
			for _, d := range owed {
				heir.sendNodedown(d.Node, d.Count, &after)
			}
		}
	}
	after.tell()
}

// receive lets the node read from its connections, and accept.
func (g *Staged) receive() {
	for _, c := range g.conns {
		g.n.attach(c)
	}
	for _, l := range g.listeners {
		if l.serves.Load() {
			l.serve()
		}
	}
}

// takeAll empties the queue of a mailbox that is held.
func (b *Mailbox) takeAll() []*Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queue[b.first:]
	b.queue, b.first, b.bytes = nil, 0, 0
	return queue
}

// breakOff breaks what processes have with nodes whose connections did not come along: they broke while the node was frozen. It gives what
// is to be told of that when the mailboxes, which are held, go on.
func (g *Staged) breakOff(boxes []*Mailbox) map[*Mailbox]broken {
	n := g.n
	all := map[*Mailbox]broken{}
	for _, b := range boxes {
		b.mu.Lock()
		gone := map[string]bool{}
		s := b.bonds("")
		for _, l := range s.Links {
			gone[string(l.Pid.Node)] = true
		}
		for _, w := range s.Watchers {
			gone[string(w.Pid.Node)] = true
		}
		for _, t := range s.Watching {
			gone[t.Node] = true
		}
		var x broken
		for node := range gone {
			if node != n.name && n.Conn(node) == nil {
				more := b.cut(extent{node: node})
				x.links, x.downs = append(x.links, more.links...), append(x.downs, more.downs...)
			}
		}
		b.mu.Unlock()
		all[b] = x
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

// publish goes on with the registration, or makes a new one.
func (g *Staged) publish(ctx context.Context) error {
	if g.publication != nil {
		return g.n.keep(g.publication.Start())
	}
	if pub, ok := g.n.cfg.Resolver.(Publisher); ok && g.published {
		return g.n.publish(ctx, pub, g.presence())
	}
	return nil
}

// Discard gives the node up without a byte on any connection: it belongs to the other process. Err of the node is ErrMoved from then on. It
// returns when the node's goroutines have ended, or after a second. Its error joins those of sockets and of the registration that could not
// be freed properly; they are given up all the same. After Start, and when called again, Discard does nothing.
func (g *Staged) Discard() error {
	if !g.over.CompareAndSwap(false, true) {
		return nil
	}
	n := g.n
	n.mu.Lock()
	n.end(ErrMoved)
	n.mu.Unlock()
	var errs []error
	for _, c := range g.conns {
		errs = append(errs, c.giveUp(false))
	}
	for _, l := range g.listeners {
		errs = append(errs, l.release())
	}
	if g.publication != nil {
		errs = append(errs, g.publication.Discard())
	}
	n.procs.moveOut()
	n.staged.Store(false)
	n.frozen.Open()
	n.awaitGoroutines()
	return wrap("discard", n.name, errors.Join(errs...))
}
