package nodes

import (
	"context"
	"math/rand/v2"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A link is one process's view of a link. See erl_dist_protocol, "Link Protocol", "New Link Protocol".
type link struct {
	active   bool
	unlinkID uint64 // of an UNLINK_ID without its acknowledgement; 0: none
}

// Link links the mailbox with a process anywhere: when one ends the other gets an exit signal. Linking twice is once. A process that does not exist sends
// an exit signal with reason noproc.
func (b *Mailbox) Link(ctx context.Context, pid ei.Pid) error {
	if pid == b.pid {
		return nil
	}
	b.mu.Lock()
	if b.ended() {
		b.mu.Unlock()
		return wrap("link", "", b.Err())
	}
	if b.links == nil {
		b.links = map[ei.Pid]*link{}
	}
	l := b.links[pid]
	if l == nil {
		l = &link{}
		b.links[pid] = l
	}
	already := l.active
	l.active = true
	b.mu.Unlock()
	if already {
		return nil
	}
	return wrap("link", "", b.n.signal(ctx, &dist.Control{Op: dist.OpLink, From: b.pid, To: pid}, nil))
}

// Unlink ends a link: no exit signal of pid comes through it any more.
func (b *Mailbox) Unlink(ctx context.Context, pid ei.Pid) error {
	b.mu.Lock()
	l := b.links[pid]
	if l == nil || !l.active {
		b.mu.Unlock()
		return nil
	}
	l.active = false
	l.unlinkID = rand.Uint64()>>1 + 1
	id := l.unlinkID
	b.mu.Unlock()
	return wrap("unlink", "", b.n.signal(ctx, &dist.Control{Op: dist.OpUnlinkID, ID: id, From: b.pid, To: pid}, nil))
}

// linked takes a LINK of a process; false if this one has ended.
func (b *Mailbox) linked(from ei.Pid) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return false
	}
	if b.links == nil {
		b.links = map[ei.Pid]*link{}
	}
	l := b.links[from]
	switch {
	case l == nil:
		b.links[from] = &link{active: true}
	case l.unlinkID == 0: // a LINK while our unlink is outstanding is ignored
		l.active = true
	}
	return true
}

// unlinked takes an UNLINK_ID, which has been acknowledged.
func (b *Mailbox) unlinked(from ei.Pid) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.links[from]; l != nil && l.unlinkID == 0 {
		delete(b.links, from)
	}
}

// unlinkDone takes an UNLINK_ID_ACK.
func (b *Mailbox) unlinkDone(from ei.Pid, id uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.links[from]; l != nil && l.unlinkID == id {
		l.unlinkID = 0
		if !l.active {
			delete(b.links, from)
		}
	}
}

// linkBroke takes the exit signal of a link.
func (b *Mailbox) linkBroke(from ei.Pid, reason ei.Raw) {
	b.mu.Lock()
	l := b.links[from]
	if l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	delete(b.links, from)
	b.mu.Unlock()
	b.exitSignal(from, reason, false)
}

// exitSignal takes an exit signal: of a link, or of exit/2 (direct), where kill cannot be trapped. See Erlang Reference Manual,
// "Processes", "Receiving Exit Signals".
func (b *Mailbox) exitSignal(from ei.Pid, reason ei.Raw, direct bool) {
	term, err := reason.Decode()
	if err != nil {
		term = ei.Atom("undecodable_reason")
	}
	switch {
	case direct && term == ei.Atom("kill"):
		b.Exit(ei.Atom("killed"))
	case b.opts.TrapExit:
		b.notify(&Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: reason}})
	case term == ei.Atom("normal") && from != b.pid:
	default:
		b.Exit(term)
	}
}

// SendExit sends an exit signal to a process, as exit/2.
func (b *Mailbox) SendExit(ctx context.Context, to ei.Pid, reason any) error {
	raw, err := ei.Append(nil, reason)
	if err != nil {
		return wrap("exit", string(to.Node), err)
	}
	return wrap("exit", "", b.n.signal(ctx, &dist.Control{Op: dist.OpExit2, From: b.pid, To: to, Reason: raw}, nil))
}

// sendExit tells a linked process of our end.
func sendExit(tell teller, from, to ei.Pid, reason ei.Term) {
	raw, err := ei.AppendTerm(nil, reason)
	if err != nil {
		raw, _ = ei.AppendAtom(nil, "unencodable_reason")
	}
	tell(&dist.Control{Op: dist.OpExit, From: from, To: to, Reason: raw}, string(to.Node))
}

// signal sends a signal to the process that ctl names, here or elsewhere, connecting if need be.
func (n *Node) signal(ctx context.Context, ctl *dist.Control, to *target) error {
	node := string(ctl.To.Node)
	if to != nil {
		node = to.node
	}
	if node == n.Name() {
		n.localSignal(ctl)
		return nil
	}
	c, err := n.connection(ctx, node)
	if err != nil {
		return err
	}
	return c.sendSignal(ctx, ctl)
}

// sendSignal sends a signal in the form that the peer has agreed to, if there is one.
func (c *Conn) sendSignal(ctx context.Context, ctl *dist.Control) error {
	ctl, payload, ok := c.agreed(ctl)
	if !ok {
		return nil
	}
	return c.SendControl(ctx, ctl, payload)
}

// A teller gets a signal to a node: tell or tellInTurn.
type teller func(ctl *dist.Control, node string)

// tell sends a signal without waiting, and only where there is a connection: without one the other side knows already.
func (n *Node) tell(ctl *dist.Control, node string) {
	if node == n.Name() {
		n.localSignal(ctl)
		return
	}
	if c := n.Conn(node); c != nil {
		if ctl, payload, ok := c.agreed(ctl); ok {
			c.signal(ctl, payload)
		}
	}
}

// tellInTurn is tell for a goroutine that may wait while much else is on its way to the peer.
func (n *Node) tellInTurn(ctl *dist.Control, node string) {
	if node == n.Name() {
		n.localSignal(ctl)
		return
	}
	if c := n.Conn(node); c != nil {
		if ctl, payload, ok := c.agreed(ctl); ok {
			_ = c.SendControl(n.ctx, ctl, payload) // a failure is the connection's end, which tells the peer
		}
	}
}
