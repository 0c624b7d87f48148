package nodes

import (
	"bytes"
	"context"
	"math/rand/v2"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A link is one process's view of a link: active, or ended by this side and remembered until the other side has heard of it, so that a
// LINK which was on its way then does not count. See erl_dist_protocol, "Link Protocol", "New Link Protocol".
type link struct {
	active   bool
	unlinkID uint64 // of an UNLINK_ID without its acknowledgement; 0: none
}

// Link links the mailbox with a process anywhere: when one ends the other gets an exit signal. Linking twice makes one link. For a process
// that does not exist an exit signal with reason noproc comes back; a node that cannot be connected to is an error, ErrNoConnection, and no
// signal comes. Link waits as Send does, for the connection and for room on it, not for the other process to hear of the link. When the
// connection ends meanwhile the error is that of Conn.Err; after any error there is no new link. Otherwise it is erlang:link/1.
func (b *Mailbox) Link(ctx context.Context, pid ei.Pid) error {
	if pid == b.pid {
		return nil
	}
	c, err := b.n.way(ctx, string(pid.Node), pid, "")
	if err != nil {
		return wrap("link", string(pid.Node), err)
	}
	return wrap("link", string(pid.Node), b.change(ctx, c, func() (*dist.Control, error) {
		if b.ended() {
			return nil, b.Err()
		}
		l := b.links[pid]
		switch {
		case c != nil && c.Err() != nil: // its end breaks the links that there are, not one that is made now
			return nil, c.Err()
		case l == nil:
			put(&b.links, pid, &link{active: true})
		case l.active:
			return nil, nil
		default: // an unlink that is outstanding counts no more
			*l = link{active: true}
		}
		return &dist.Control{Op: dist.OpLink, From: b.pid, To: pid}, nil
	}))
}

// Unlink ends a link: no exit signal from pid comes through it any more. Where there is no link it does nothing. It makes no connection:
// without one the link is broken. It waits for room on the connection, and while that, or the node, is frozen. If ctx ends before, or the
// mailbox or the connection has gone on in another process (ErrMoved), the link stays. It is erlang:unlink/1.
func (b *Mailbox) Unlink(ctx context.Context, pid ei.Pid) error {
	c, here := b.n.wayTo(b.n.extentOf(pid))
	return wrap("unlink", string(pid.Node), b.change(ctx, c, func() (*dist.Control, error) {
		l := b.links[pid]
		switch {
		case b.hasMoved() || c != nil && c.Err() == ErrMoved: // with the link
			return nil, ErrMoved
		case l == nil || !l.active:
			return nil, nil
		case !here && (c == nil || c.Err() != nil): // its end breaks the link
			l.active = false
			return nil, nil
		}
		if c != nil && !c.peer.Flags.Has(dist.FlagUnlinkID) { // nobody acknowledges the old UNLINK
			delete(b.links, pid)
			return &dist.Control{Op: dist.OpUnlink, From: b.pid, To: pid}, nil
		}
		*l = link{unlinkID: rand.Uint64()>>1 + 1}
		return &dist.Control{Op: dist.OpUnlinkID, ID: l.unlinkID, From: b.pid, To: pid}, nil
	}))
}

// change is changeNow that first waits while the connection's queue is full.
func (b *Mailbox) change(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c != nil {
		if err := c.calm(ctx); err != nil && (ctx.Err() != nil || c.Err() == nil) {
			return err
		}
	}
	return b.changeNow(ctx, c, alter)
}

// changeNow changes a link or a monitor and sends the signal that says so, as one step: what the other side says about it comes before or
// after both. c is nil for a process of this node. alter runs with b.mu held; nil says that there is nothing to send.
func (b *Mailbox) changeNow(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c == nil {
		return b.changeHere(ctx, alter)
	}
	if err := b.lockWith(ctx, c); err != nil { // while c is frozen the signal could not go out
		return err
	}
	defer b.mu.Unlock()
	ctl, err := alter()
	if ctl != nil {
		c.tell(ctl)
	}
	return err
}

// lockWith is lockWithin for a change of what the mailbox has with the node of a connection, which waits while that is frozen, too.
func (b *Mailbox) lockWith(ctx context.Context, c *Conn) error {
	for {
		if err := b.lockWithin(ctx); err != nil {
			return err
		}
		shut, change := c.frozen.State()
		if !shut {
			return nil
		}
		b.mu.Unlock()
		if err := wait.For(ctx, change); err != nil {
			return err
		}
	}
}

// changeHere changes what the mailbox has with another process of this node, and tells that one, as one step. What alter gives does not
// run a Handler there; that nobody is there is said afterwards.
func (b *Mailbox) changeHere(ctx context.Context, alter func() (*dist.Control, error)) error {
	n := b.n
	if err := b.lockBoth(ctx); err != nil {
		return err
	}
	ctl, err := alter()
	b.mu.Unlock()
	there := true
	switch {
	case ctl == nil:
	case ctl.Op == dist.OpUnlinkID || ctl.Op == dist.OpDemonitorP:
		n.localSignal(ctl)
	default:
		there = n.bind(ctl)
	}
	<-n.procs.bonding
	switch {
	case !there:
		n.noproc(ctl)
	case ctl != nil && ctl.Op == dist.OpLink && b.ended(): // before the other one knew of the link
		sendExit(n.tell, b.pid, ctl.To, exitReason(b.why))
	}
	return err
}

// lockBoth takes the token for a change of what two processes of this node have with each other, and locks the mailbox, once they are not
// held: all are, or none. It does not wait with the token, which who freezes the node needs.
func (b *Mailbox) lockBoth(ctx context.Context) error {
	p := &b.n.procs
	for {
		if err := p.bond(ctx); err != nil {
			return err
		}
		b.mu.Lock()
		if !b.held.Load() || b.n.staged.Load() {
			return nil
		}
		shut, change := b.n.frozen.State()
		b.mu.Unlock()
		<-p.bonding
		if !shut { // it is about to go on
			continue
		}
		if err := wait.For(ctx, change); err != nil { // else it is open, or somebody is to look again
			return err
		}
	}
}

// linked takes a LINK of a process; false if this one has ended.
func (b *Mailbox) linked(from ei.Pid) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return false
	}
	l := b.links[from]
	switch {
	case l == nil:
		put(&b.links, from, &link{active: true})
	case l.unlinkID == 0: // a LINK while our unlink is outstanding is ignored
		l.active = true
	}
	return true
}

// unlinked takes an UNLINK_ID, and acknowledges it in the same step.
func (b *Mailbox) unlinked(from ei.Pid, acknowledge func()) {
	b.lock()
	defer b.mu.Unlock()
	defer acknowledge()
	if l := b.links[from]; l != nil && l.unlinkID == 0 {
		delete(b.links, from)
	}
}

// unlinkDone takes an UNLINK_ID_ACK.
func (b *Mailbox) unlinkDone(from ei.Pid, id uint64) {
	b.lock()
	defer b.mu.Unlock()
	if l := b.links[from]; l != nil && l.unlinkID == id {
		l.unlinkID = 0
		if !l.active {
			delete(b.links, from)
		}
	}
}

// linkBroke takes the exit signal of a link; c is what it came over, nil for this node.
func (b *Mailbox) linkBroke(from ei.Pid, reason ei.Raw, c *Conn) {
	b.lock()
	l := b.links[from]
	if l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	delete(b.links, from)
	b.mu.Unlock()
	if b.exitSignal(from, reason, false, c) || c == nil {
		return
	}
	b.lock()
	defer b.mu.Unlock()
	if !b.ended() && b.links[from] == nil { // the connection has ended while there was no room: its end breaks the link
		b.links[from] = l
	}
}

// linkLost ends a link whose other side is not connected any more.
func (b *Mailbox) linkLost(with ei.Pid, after *aftermath) {
	b.lock()
	l := b.links[with]
	if l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	delete(b.links, with)
	b.mu.Unlock()
	if b.opts.TrapExit {
		after.notify(b, &Message{Control: dist.Control{Op: dist.OpExit, From: with, To: b.pid, Reason: exitReason(noconnection)}})
	} else {
		after.exit(b, noconnection)
	}
}

// exitSignal takes an exit signal: of a link, or of exit/2 (direct), where kill cannot be trapped. See Erlang Reference Manual,
// "Processes", "Receiving Exit Signals". It is false when the mailbox has gone on in another process before, or the connection has ended.
func (b *Mailbox) exitSignal(from ei.Pid, reason ei.Raw, direct bool, c *Conn) bool {
	term, err := reason.Decode()
	if err != nil {
		b.n.undecodable(c, "exit reason", err)
		term = ei.Atom("undecodable_reason")
	}
	switch {
	case direct && term == ei.Atom("kill") && !b.opts.lasting:
		b.exitBy(c, ei.Atom("killed"))
	case b.opts.TrapExit:
		reason = bytes.Clone(reason) // without the rest of its frame
		return b.notifyFrom(c, &Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: reason}, conn: c})
	case term == ei.Atom("normal") && from != b.pid:
	default:
		b.exitBy(c, term)
	}
	return !b.hasMoved()
}

// SendExit sends an exit signal to a process; reason kill cannot be trapped. It waits as Send does, for the connection and for room on it;
// a mailbox of this node takes it whatever its limit. ErrNoConnection if the node cannot be connected to; a process that does not exist is
// no error. It is erlang:exit/2.
func (b *Mailbox) SendExit(ctx context.Context, to ei.Pid, reason any) error {
	if b.ended() {
		return wrap("exit", string(to.Node), b.Err())
	}
	raw, err := ei.Append(nil, reason)
	if err != nil {
		return wrap("exit", string(to.Node), err)
	}
	return wrap("exit", string(to.Node), b.n.exit2(ctx, &dist.Control{Op: dist.OpExit2, From: b.pid, To: to, Reason: raw}))
}

// sendExit tells a linked process of our end.
func sendExit(tell teller, from, to ei.Pid, reason ei.Raw) {
	tell(&dist.Control{Op: dist.OpExit, From: from, To: to, Reason: reason})
}

// exitReason encodes a reason.
func exitReason(reason ei.Term) ei.Raw {
	raw, err := ei.AppendTerm(nil, reason)
	if err != nil {
		raw, _ = ei.AppendAtom(nil, "unencodable_reason")
	}
	return raw
}

// exit2 gets an EXIT2 to a process here or elsewhere, connecting if need be.
func (n *Node) exit2(ctx context.Context, ctl *dist.Control) error {
	c, err := n.way(ctx, string(ctl.To.Node), ctl.To, "")
	switch {
	case err != nil:
		return err
	case c != nil:
		return c.sendSignal(ctx, ctl)
	}
	if err := n.unfrozen(ctx); err != nil {
		return err
	}
	b := n.procs.local(ctl.To)
	if b != nil && !b.exitSignal(ctl.From, ctl.Reason, true, nil) || n.hasMoved() && b == nil {
		return ErrMoved
	}
	return nil
}

// sendSignal sends a signal in the form that the peer has agreed to, if there is one.
func (c *Conn) sendSignal(ctx context.Context, ctl *dist.Control) error {
	ctl, payload, ok := c.agreed(ctl)
	if !ok { // the end of the connection has to tell, unless it has passed already
		return c.Err()
	}
	return c.SendControl(ctx, ctl, payload)
}

// A teller gets a signal to the process that it is for.
type teller func(ctl *dist.Control)

// tell sends a signal without waiting, and only where there is a connection: without one the other side knows already.
func (n *Node) tell(ctl *dist.Control) {
	switch c, here := n.wayTo(n.extentOf(ctl.To)); {
	case here:
		n.localSignal(ctl)
	case c != nil:
		c.tell(ctl)
	}
}

// tell is Node.tell for one connection.
func (c *Conn) tell(ctl *dist.Control) {
	if ctl, payload, ok := c.agreed(ctl); ok {
		c.signal(ctl, payload)
	}
}

// tellInTurn is tell for a goroutine that may wait while much else is on its way to the peer, until ctx ends.
func (c *Conn) tellInTurn(ctx context.Context) teller {
	return func(ctl *dist.Control) {
		if ctx.Err() != nil {
			c.tell(ctl)
			return
		}
		if err := c.sendSignal(ctx, ctl); err != nil && ctx.Err() != nil && c.Err() == nil { // another failure is the connection's end
			c.tell(ctl)
		}
	}
}
