package nodes

import (
	"errors"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// Inherited is what Config.Handover returned in the old process; ok tells whether there was one, that is, whether the node was made by
// Restore.
func (n *Node) Inherited() (blob []byte, ok bool) {
	b := n.inherited.Load()
	if b == nil {
		return nil, false
	}
	return *b, true
}

// ErrBonds: a mailbox that already has links or monitors cannot become another process.
var ErrBonds = errors.New("the mailbox has links or monitors before it goes on as a restored process")

// succeed lets a mailbox go on in the place of the restored one that has a name, if there is one that has no successor yet.
func (p *processes) succeed(name ei.Atom, to *Mailbox) (bool, error) {
	from := p.bequest(name, to)
	if from == nil {
		return false, nil
	}
	p.succeeding.Lock() // no other goroutine locks two mailboxes at once, perhaps in the opposite order
	defer p.succeeding.Unlock()
	from.mu.Lock()
	defer from.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled || p.names[name] != from || !from.awaitsHeir || to.succeeds || to.ended() {
		return false, nil
	}
	if !to.links.empty() || !to.watchers.empty() || !to.watching.empty() { // they would be those of a pid that no process has any more
		return false, ErrBonds
	}
	delete(p.byID, key(to.pid))
	p.byID[key(from.pid)] = to
	for _, name := range from.names {
		p.names[name] = to
	}
	to.pid, to.succeeds = from.pid, true
	if _, ok := p.former[from]; ok {
		delete(p.former, from)
		p.former[to] = struct{}{}
	}
	to.names = append(to.names, from.names...)
	to.bondTables = from.bondTables
	for c, count := range from.downs {
		to.noteDown(c, count)
	}
	from.passNodesTo(to)
	from.restoreAll()
	to.queue, to.first, to.bytes = slices.Concat(from.queue, to.queue[to.first:]), 0, from.bytes+to.bytes
	to.held.Store(from.held.Load())
	from.awaitsHeir, from.moved = false, true
	from.names, from.queue, from.bytes = nil, nil, 0
	from.bondTables, from.downs = bondTables{}, nil
	close(from.over)
	return true, nil
}

// bequest is the restored mailbox with a name in whose place another one may go on; nil: there is none, as in any node once it is started.
func (p *processes) bequest(name ei.Atom, to *Mailbox) *Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if from := p.names[name]; !p.settled && from != nil && from != to && from.awaitsHeir {
		return from
	}
	return nil
}

// endSuccession puts an end to succeed: a restored mailbox that has no successor keeps its name.
func (p *processes) endSuccession() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
}

// heirless lists the restored mailboxes that have no successor.
func (p *processes) heirless() []*Mailbox {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var list []*Mailbox
	for _, b := range p.byID {
		if b.awaitsHeir {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *Mailbox) int { return ei.Compare(a.pid, b.pid) })
	return list
}

// warnOfHeirless tells of restored mailboxes whose Server or Handler has no successor: nobody may receive from them.
func (n *Node) warnOfHeirless() {
	for _, b := range n.procs.heirless() {
		if b.wasServed {
			n.log.Warn("a process goes on without its server: register that in Setup, or close the mailbox (Mailboxes)", "pid", b.pid,
				"names", n.procs.namesOf(b))
		}
	}
}

// restoreMailbox makes a mailbox from its description. lost are the nodes that the mailbox takes to be up, but to which there is no
// connection.
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
	b = n.makeMailbox(pid, nil, &MailboxOptions{Limit: s.Limit, Full: Full(s.Full), TrapExit: s.TrapExit})
	b.awaitsHeir, b.wasServed = true, s.Served
	b.held.Store(true)
	b.tie(s.Bonds)
	lost = b.tieNodes(NodeTypes(s.NodeTypes), s.NodesUp)
	for i := range s.Messages {
		m := n.message(&s.Messages[i])
		b.queue = append(b.queue, m)
		b.bytes += cost(m)
	}
	p := &n.procs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID[key(pid)] != nil {
		return nil, nil, &StateError{"mailbox " + pid.String(), ErrState}
	}
	p.byID[key(pid)] = b
	for _, x := range s.Names {
		if p.names[x.Name] != nil {
			return nil, nil, &StateError{"name " + string(x.Name), ErrState}
		}
		p.names[x.Name] = b
		b.names = append(b.names, x.Name)
	}
	p.noteFormer(b, s.Bonds.Watchers)
	return b, lost, nil
}

// message makes a message from its description, and copies the terms, which may be part of a larger slice.
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
