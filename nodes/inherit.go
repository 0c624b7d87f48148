package nodes

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

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
		if b.wasServed {
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
