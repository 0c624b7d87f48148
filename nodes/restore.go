package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// Restore makes a node from what Frozen has given in another process: its state, and duplicates of
// its descriptors, in the same order. Restore owns the descriptors from the call on: on failure it
// closes them. cfg is as for New; if it has a name, this must be the state's.
//
// Processes are found again by their names. If the old node had been started, Config.Setup is
// called, as by Start, and registers what peers expect to find: a mailbox, Handler or Server that
// is registered under a name of the old node becomes the process that had the name, with its pid,
// unread messages, links and monitors. (Ask for its Pid after that.) Staged.Mailboxes has the
// mailboxes that nobody takes over in this way, including nameless ones. Until Start nothing is
// received, and what is sent waits, as new connections do: Setup must not wait for any of it. It
// may link and monitor, once the name is registered. Inherited gives it what Config.Handover
// returned. Restore waits for Setup, and for nobody else.
//
// The errors are a *StateError (ErrState, ErrStateFormat, ErrStateField) for the state, or
// descriptors that do not fit it; ErrOtherNode for another name; ErrNoPlugin and *NotMovableError
// for a plug-in that cfg does not have, or that has no Import; errors.ErrUnsupported for a Resolver
// that cannot go on with the registration; and those of New, the plug-ins' Import and Setup.
func Restore(cfg Config, state []byte, descriptors []int) (*Staged, error) {
	fds := descriptor.Own(descriptors)
	g, s, err := stageNode(cfg, state)
	if err == nil {
		if err = g.fill(s, fds); err == nil && s.Started {
			err = g.n.setup()
		}
		if err != nil {
			err = errors.Join(err, g.Discard())
		}
	}
	if err != nil {
		return nil, wrap("restore", "", errors.Join(err, fds.Close()))
	}
	return g, nil
}

// stageNode makes a node of its state, without connections or mailboxes: fill is next, and Setup.
func stageNode(cfg Config, state []byte) (*Staged, *states.Node, error) {
	s := &states.Node{}
	if err := readState(states.KindNode, state, s); err != nil {
		return nil, nil, err
	}
	if cfg.Name == "" && cfg.Alive == "" {
		cfg.Name, cfg.Host = s.Name, ""
	}
	n, err := New(cfg)
	if err != nil {
		return nil, nil, err
	}
	if n.name != s.Name || dist.CheckName(s.Name) != nil {
		return nil, nil, fmt.Errorf("%w: %q, and this is %q", ErrOtherNode, s.Name, n.name)
	}
	n.creation, n.used, n.settled = s.Creation, true, true
	n.life.Set(life.Staged)
	_ = n.life.Start(transport.NoWait()) // nobody moves it
	n.started.Store(s.Started)
	blob := append([]byte{}, s.Blob...)
	n.inherited.Store(&blob)
	for i, c := range n.stats.all() {
		c.Store(s.Stats[i])
	}
	g := &Staged{n: n, orphans: s.Orphans, owed: map[*Mailbox][]states.Down{}, lost: map[*Mailbox][]states.Up{}, published: s.Published}
	return g, s, nil
}

// fill makes the node's connections, listeners, mailboxes and registration.
func (g *Staged) fill(s *states.Node, fds *descriptor.List) error {
	n := g.n
	for i := range s.Conns {
		cs := &s.Conns[i]
		var err error
		switch {
		case cs.Worker == 0 && cs.Trunk == 0 && (!cs.Shadow || n.part != nil):
			err = g.connection(cs, fds)
		case n.part != nil:
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
	if err := g.leaveToAccept(s.Conns); err != nil {
		return err
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
	n.ids.pid.Store(max(s.Pids+spareIDs, n.ids.pid.Load()))
	n.ids.ref.Store(s.Refs + spareIDs)
	if s.Publication != nil {
		if err := g.name(s.Publication, fds); err != nil {
			return wrap("registration", "", err)
		}
	}
	return stateError(fds.AllTaken())
}

// localConnection stages a way to another worker. A relay link comes after its peer link.
func (g *Staged) localConnection(s *states.Conn, fds *descriptor.List) error {
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
		n.part.ways.mu.Lock()
		defer n.part.ways.mu.Unlock()
		n.part.workerLinks[s.Worker] = c
		return nil
	}
	c.peerLink = g.conns[s.Trunk.Index()]
	c.peerLink.relaying.Lock()
	defer c.peerLink.relaying.Unlock()
	lazymap.Put(&c.peerLink.relayLinks, s.Worker, c)
	return nil
}

// stage stages one connection of any kind.
func (g *Staged) stage(s *states.Conn, fds *descriptor.List) (*Conn, error) {
	fd, err := fds.TakeOne(s.Descriptor)
	if err != nil {
		return nil, stateError(err)
	}
	c, err := g.n.stage(s, fd)
	if err == nil {
		g.conns, g.exports = append(g.conns, c), append(g.exports, s.Export)
	}
	return c, err
}

// connection stages one connection, and puts it on the table.
func (g *Staged) connection(s *states.Conn, fds *descriptor.List) error {
	n := g.n
	if s.Self != n.name || s.SelfCreation != n.creation || dist.CheckName(s.Peer.Name) != nil || len(s.Bonds) > 0 {
		return &StateError{"connection", ErrState}
	}
	if n.peers.Look(s.Peer.Name).Conn != nil {
		return ErrConnected
	}
	c, err := g.stage(s, fds)
	if err != nil {
		return err
	}
	n.peers.Put(c.entry(0))
	return nil
}

func (g *Staged) listener(s *states.Listener, fds *descriptor.List) error {
	n := g.n
	tr, err := n.carrier(s.TransportID)
	if err != nil {
		return err
	}
	fd, err := fds.TakeOne(s.Descriptor)
	if err != nil {
		return stateError(err)
	}
	tl, err := tr.ImportListener(fd)
	if err != nil {
		return errors.Join(err, descriptor.Close(fd))
	}
	if s.KeepsPath {
		tl.KeepPath()
	}
	l := n.newListener(tr, tl)
	l.stopped.Shut()
	l.serves.Store(s.Serves)
	g.listeners = append(g.listeners, l)
	n.mu.Lock()
	n.listeners[l] = struct{}{}
	n.mu.Unlock()
	if err := tl.Pause(context.Background()); err != nil {
		return err
	}
	if (s.Serves || s.Begun) && !n.isFront {
		l.begin()
	}
	return nil
}

// leaveToAccept leaves connections that no Accept has returned in the other process to the Accept
// of their listeners here.
func (g *Staged) leaveToAccept(all []states.Conn) error {
	for i, c := range g.conns {
		at := all[i].Unaccepted.Index()
		if at >= len(g.listeners) {
			return wrap("connection to", c.Name(), &StateError{"connection", ErrState})
		}
		if at >= 0 {
			l := g.listeners[at]
			c.from.Store(l)
			l.mu.Lock()
			l.await(c)
			l.mu.Unlock()
		}
	}
	return nil
}

// name stages the registration.
func (g *Staged) name(s *states.Publication, fds *descriptor.List) error {
	adopter, ok := g.n.cfg.Resolver.(StagingPublisher)
	if !ok {
		return fmt.Errorf("%T cannot go on with the registration of the process before: %w", g.n.cfg.Resolver, errors.ErrUnsupported)
	}
	own, err := fds.Take(s.First, s.Descriptors)
	if err != nil {
		return stateError(err)
	}
	g.publication, err = adopter.Stage(g.n.registration(g.announced()), s.State, own)
	return err
}

// announced is the listener that is published; nil: there is none.
func (g *Staged) announced() (l *Listener) {
	for _, l = range g.listeners { // the first that Start opened, else the last
		if l.serves.Load() {
			break
		}
	}
	return l
}

// Inherited is what Config.Handover returned in the old process; ok tells whether there was one,
// that is, whether the node was made by Restore.
func (n *Node) Inherited() (blob []byte, ok bool) {
	b := n.inherited.Load()
	if b == nil {
		return nil, false
	}
	return *b, true
}

// warnOfHeirless tells of restored mailboxes whose Server or Handler has no successor: nobody may
// receive from them.
func (n *Node) warnOfHeirless() {
	for _, b := range n.procs.heirless() {
		if b.served.before {
			n.log.Warn("a process goes on without its server: register that in Setup, or close the mailbox (Mailboxes)", "pid", b.pid,
				"names", n.procs.namesOf(b))
		}
	}
}

// restoreMailbox makes a mailbox from its description. lost are the nodes that the mailbox takes to
// be up, but to which there is no connection.
func (n *Node) restoreMailbox(s *states.Mailbox) (b *Mailbox, lost []states.Up, err error) {
	if s.Bonds == nil {
		return nil, nil, &StateError{"mailbox", ErrState}
	}
	pid := s.Bonds.Pid
	if string(pid.Node) != n.name || pid.Creation != n.creation {
		return nil, nil, &StateError{"mailbox " + pid.String(), ErrOtherNode}
	}
	if err := limit("limit", &s.Limit, DefaultMailboxLimit); err != nil {
		return nil, nil, &StateError{"mailbox " + pid.String(), errors.Join(ErrState, err)}
	}
	b = new(Mailbox)
	b.init(n, pid, nil, &MailboxOptions{Limit: s.Limit, Full: Full(s.Full), TrapExit: s.TrapExit, Priority: s.Priority,
		Parent: s.Parent})
	b.awaitsHeir, b.served.before, b.label, b.born = true, s.Served, s.Label, time.Now().UnixNano()
	if s.HandsOver {
		state := slices.Clone(s.Handover)
		b.inherited = &state
	}
	b.staged.Store(true)
	b.tie(s.Bonds)
	lost = b.tieNodes(NodeTypes(s.NodeTypes), s.NodesUp)
	for i := range s.Messages {
		b.inbox.Restore(entryOf(n.message(&s.Messages[i])))
	}
	p := &n.procs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID[key(pid)] != nil {
		return nil, nil, &StateError{"mailbox " + pid.String(), ErrState}
	}
	p.byID[key(pid)] = b
	for _, a := range s.Aliases {
		if string(a.Ref.Node) != n.name || a.Ref.Creation != n.creation || p.aliases.of[a.Ref] != nil {
			return nil, nil, &StateError{"alias " + a.Ref.String(), ErrState}
		}
		b.bonds.PutAlias(a.Ref, bonds.Alias(a.Options))
		p.aliases.put(a.Ref, b)
	}
	for _, x := range s.Names {
		if p.names[x.Name] != nil {
			return nil, nil, &StateError{"name " + string(x.Name), ErrState}
		}
		p.addName(x.Name, b)
	}
	p.noteFormer(b, s.Bonds.Watchers)
	return b, lost, nil
}

// message makes a message from its description, and copies the terms, which may be part of a larger
// slice.
func (n *Node) message(s *states.Message) *Message {
	m := &Message{Control: s.Control, Payload: cloneRaw(s.Payload)}
	for _, r := range []*ei.Raw{&m.Reason, &m.Token, &m.Options, &m.Result} {
		*r = cloneRaw(*r)
	}
	if s.Peer != "" {
		m.conn = n.Conn(s.Peer)
	}
	return m
}

func cloneRaw(r ei.Raw) ei.Raw { return append(ei.Raw(nil), r...) }
