package nodes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/nodes/internal/inside"
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
// The errors are ErrState and ErrStateFormat for the state, or
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
	if err := form.Read(states.KindNode, state, s); err != nil {
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
	return &Staged{n: n, orphans: s.Orphans, dues: map[ei.Pid]*dues{}, published: s.Published}, s, nil
}

// fill makes the node's connections, listeners, mailboxes and registration.
func (g *Staged) fill(s *states.Node, fds *descriptor.List) error {
	n := g.n
	for i := range s.Conns {
		cs := &s.Conns[i]
		var err error
		switch {
		case cs.Worker == 0 && cs.Trunk == 0 && (!cs.Shadow || n.ids.Worker != 0):
			err = g.connection(cs, fds)
		case n.ids.Worker != 0:
			err = g.localConnection(cs, fds)
		default:
			err = form.At("connection", ErrState)
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
	if err := g.mailboxes(&s.Mailboxes); err != nil {
		return err
	}
	n.ids.GoOn(s.Pids, s.Refs)
	if s.Publication != nil {
		if err := g.name(s.Publication, fds); err != nil {
			return wrap("registration", "", err)
		}
	}
	return fds.AllTaken()
}

// localConnection stages a way to another worker. A relay link comes after its peer link.
func (g *Staged) localConnection(s *states.Conn, fds *descriptor.List) error {
	n := g.n
	if s.Self != n.name || s.SelfCreation != n.creation || s.Peer.Name != n.name || s.Shadow || s.Worker < 1 || s.Worker > states.MaxPart ||
		s.Trunk < 0 || s.Trunk.Index() >= len(g.conns) || len(s.Bonds) > 0 {
		return form.At("connection", ErrState)
	}
	if s.Trunk > 0 && g.conns[s.Trunk.Index()].kind() != inside.Direct {
		return form.At("connection", ErrState)
	}
	c, err := g.stage(s, fds)
	if err != nil {
		return err
	}
	if s.Trunk == 0 {
		n.router.PutWorkerLink(c)
		return nil
	}
	c.ties.PeerLink = g.conns[s.Trunk.Index()]
	c.ties.PeerLink.ties.PutRelayLink(s.Worker, c)
	return nil
}

// stage stages one connection of any kind.
func (g *Staged) stage(s *states.Conn, fds *descriptor.List) (*Conn, error) {
	fd, err := fds.TakeOne(s.Descriptor)
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
func (g *Staged) connection(s *states.Conn, fds *descriptor.List) error {
	n := g.n
	if s.Self != n.name || s.SelfCreation != n.creation || dist.CheckName(s.Peer.Name) != nil || len(s.Bonds) > 0 {
		return form.At("connection", ErrState)
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
			return wrap("connection to", c.Name(), form.At("connection", ErrState))
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
	adopter, ok := g.n.cfg.Resolver.(stagingPublisher)
	if !ok {
		return fmt.Errorf("%T cannot go on with the registration of the process before: %w", g.n.cfg.Resolver, errors.ErrUnsupported)
	}
	own, err := fds.Take(s.First, s.Descriptors)
	if err != nil {
		return err
	}
	g.publication, err = adopter.stage(g.n.publishing.registration(g.announced()), s.State, own)
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
	const named = 10
	list := n.procs.heirless(func(b *Mailbox) bool { return b.served.before })
	for _, b := range list[:min(named, len(list))] {
		n.log.Warn("a process goes on without its server: register that in Setup, or close the mailbox (Mailboxes)", "pid", b.pid,
			"names", n.procs.namesOf(b))
	}
	if more := len(list) - named; more > 0 {
		n.log.Warn("more processes go on without their servers", "count", more)
	}
}

// mailboxes makes mailboxes from their descriptions, and puts them on the tables.
func (g *Staged) mailboxes(list *form.List[states.Mailbox]) error {
	if list.All == nil {
		return nil
	}
	r := restorer{n: g.n, born: time.Now().UnixNano()}
	boxes := make([]*Mailbox, 0, list.Len)
	for s, err := range list.All {
		if err != nil {
			return err
		}
		r.boxesLeft = list.Len - len(boxes)
		left := s.Bonds.TakeAwaiting()
		b, lost, err := r.mailbox(s)
		if err != nil {
			return err
		}
		boxes = append(boxes, b)
		downs := slices.DeleteFunc(s.Bonds.Downs, func(d states.Down) bool { return g.n.Conn(d.Node) != nil })
		if len(left)+len(lost)+len(downs) > 0 {
			g.dues[b.pid] = &dues{nodedowns: slices.Clone(downs), ups: lost, callers: left}
		}
	}
	return g.n.procs.restore(boxes)
}

// A restorer makes what a state describes of mailboxes, several at a time: there may be a million.
// What it makes at once is freed only when none of it is in use any more.
type restorer struct {
	n     *Node
	born  int64 // of the mailboxes
	boxes states.Several[Mailbox]
	// so many mailboxes are still to be made, and so many messages of the current one
	boxesLeft, messagesLeft int
	messages                states.Several[Message]
	terms                   states.Copies
	peer                    string // whose connection is conn
	conn                    *Conn
}

// mailbox makes a mailbox that is not on the tables yet. lost are the nodes that the mailbox takes
// to be up, but to which there is no connection.
func (r *restorer) mailbox(s *states.Mailbox) (b *Mailbox, lost []states.Up, err error) {
	n, pid := r.n, s.Bonds.Pid
	if string(pid.Node) != n.name || pid.Creation != n.creation {
		return nil, nil, form.At("mailbox "+pid.String(), ErrOtherNode)
	}
	if err := limit("limit", &s.Limit, DefaultMailboxLimit); err != nil {
		return nil, nil, form.At("mailbox "+pid.String(), errors.Join(ErrState, err))
	}
	b = r.boxes.Next(r.boxesLeft)
	b.init(n, pid, nil, &MailboxOptions{Limit: s.Limit, Full: Full(s.Full), TrapExit: s.TrapExit, Priority: s.Priority,
		Parent: s.Parent})
	b.awaitsHeir, b.served.before, b.label, b.born = true, s.Served, slices.Clone(s.Label), r.born
	if s.HandsOver {
		state := slices.Clone(s.Handover)
		b.inherited = &state
	}
	b.staged.Store(true)
	if !s.Bonds.Empty() {
		b.tie(&s.Bonds)
	}
	if s.NodeTypes != 0 || len(s.NodesUp) > 0 {
		lost = b.tieNodes(NodeTypes(s.NodeTypes), s.NodesUp)
	}
	for _, a := range s.Aliases {
		if string(a.Ref.Node) != n.name || a.Ref.Creation != n.creation {
			return nil, nil, form.At("alias "+a.Ref.String(), ErrState)
		}
		b.bonds.PutAlias(a.Ref, bonds.Alias(a.Options))
	}
	for _, x := range s.Names {
		b.names = append(b.names, x.Name)
	}
	if s.Messages.All != nil {
		err = r.unread(b, &s.Messages)
	}
	return b, lost, err
}

// unread gives a mailbox its unread messages.
func (r *restorer) unread(b *Mailbox, list *form.List[states.Message]) error {
	b.inbox.Reserve(list.Len)
	r.messagesLeft = list.Len
	for m, err := range list.All {
		if err != nil {
			return err
		}
		b.inbox.Push(entryOf(r.message(m)))
		r.messagesLeft--
	}
	return nil
}

// message makes a message from its description.
func (r *restorer) message(s *states.Message) *Message {
	if s.Peer != r.peer {
		r.peer, r.conn = s.Peer, r.n.Conn(s.Peer)
	}
	m := r.messages.Next(r.messagesLeft)
	m.Control, m.Payload, m.conn = s.Control, s.Payload, r.conn
	for _, raw := range []*ei.Raw{&m.Payload, &m.Reason, &m.Token, &m.Options, &m.Result} {
		*raw = r.terms.Copy(*raw)
	}
	return m
}

// restore puts mailboxes of another process on the tables.
func (p *processes) restore(boxes []*Mailbox) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	byID := make(map[uint64]*Mailbox, len(p.byID)+len(boxes))
	maps.Copy(byID, p.byID)
	p.byID = byID
	for _, b := range boxes {
		if byID[ids.Key(b.pid)] != nil {
			return form.At("mailbox "+b.pid.String(), ErrState)
		}
		byID[ids.Key(b.pid)] = b
		for ref := range b.bonds.Aliases() {
			if _, ok := p.aliases.Get(ref); ok {
				return form.At("alias "+ref.String(), ErrState)
			}
			p.aliases.Put(ref, b)
		}
		names := b.names
		b.names = nil
		for _, name := range names {
			if p.names[name] != nil {
				return form.At("name "+string(name), ErrState)
			}
			p.addName(name, b)
		}
		for _, w := range b.bonds.Watchers() {
			p.noteFormer(b, w.Name)
		}
	}
	return nil
}
