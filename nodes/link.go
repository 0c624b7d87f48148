package nodes

import (
	"bytes"
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
)

// Link links the mailbox with a process anywhere: when one ends the other gets an exit signal.
// Linking twice makes one link. For a process that does not exist an exit signal with reason noproc
// comes back; a node that cannot be connected to is an error, ErrNoConnection, and no signal comes.
// Link waits as Send does, for the connection and for room on it, not for the other process to hear
// of the link. If the connection ends during the wait the error is that of Conn.Err; after any
// error there is no new link. In all else Link is erlang:link/1.
func (b *Mailbox) Link(ctx context.Context, pid ei.Pid) error {
	if pid == b.pid {
		return nil
	}
	c, err := b.n.way(ctx, string(pid.Node), pid, "")
	if err != nil {
		return wrap("link", string(pid.Node), err)
	}
	return wrap("link", string(pid.Node), b.changeAlive(ctx, c, func() *dist.Control { return b.bonds.Link(b.pid, pid) }))
}

// Unlink ends a link: no exit signal from pid comes through it any more. If there is no link Unlink
// does nothing. It makes no connection: without one the link is broken anyway. It waits for room on
// the connection, and while the connection or the node is frozen. If ctx ends during the wait, or
// the mailbox or the connection has gone on in another process (ErrMoved), the link stays. It is
// erlang:unlink/1.
func (b *Mailbox) Unlink(ctx context.Context, pid ei.Pid) error {
	c, here := b.n.wayTo(b.n.scopeOf(pid))
	return wrap("unlink", string(pid.Node), b.change(ctx, c, func() (*dist.Control, error) {
		way := bonds.Acknowledged
		switch {
		case b.hasMoved() || c != nil && c.Err() == ErrMoved: // and the link with it
			return nil, ErrMoved
		case !here && (c == nil || c.Err() != nil):
			way = bonds.Lost
		case c != nil && !c.l.Peer().Flags.Has(dist.FlagUnlinkID):
			way = bonds.Silent
		}
		b.inbox.RingRoom() // an exit signal of this link may wait for room: see trapBroke
		return b.bonds.Unlink(b.pid, pid, way), nil
	}))
}

// linked handles a LINK from a process; false if this mailbox has ended.
func (b *Mailbox) linked(from ei.Pid) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.isGoneFor(from) {
		return false
	}
	b.bonds.TakeLink(from)
	return true
}

// unlinked handles an UNLINK_ID, and acknowledges it in the same step.
func (b *Mailbox) unlinked(from ei.Pid, acknowledge func()) {
	b.lock()
	defer b.mu.Unlock()
	defer acknowledge()
	b.bonds.TakeUnlink(from)
}

// unlinkDone handles an UNLINK_ID_ACK.
func (b *Mailbox) unlinkDone(from ei.Pid, id uint64) {
	b.lock()
	defer b.mu.Unlock()
	b.bonds.TakeUnlinkAck(from, id)
}

// linkBroke handles the exit signal of a link; c is the connection it came over, nil for this node.
// Removing the link and acting on the signal are one step, so that nothing comes through a link
// that Unlink has ended.
func (b *Mailbox) linkBroke(from ei.Pid, reason ei.Raw, c *Conn) {
	if b.traps.Load() {
		b.trapBroke(from, reason, c)
		return
	}
	if !b.hasLink(from) { // before the reason, which may be large, is decoded
		return
	}
	why := b.exitTerm(reason, c)
	b.lock()
	if b.traps.Load() { // TrapExit was called meanwhile
		b.mu.Unlock()
		b.trapBroke(from, reason, c)
		return
	}
	if !b.bonds.Break(from) {
		b.mu.Unlock()
		return
	}
	if why == ei.Atom("normal") && from != b.pid {
		b.mu.Unlock()
		return
	}
	b.notifyEnd(b.endUnlock(why), bonds.Scope{})
}

func (b *Mailbox) hasLink(with ei.Pid) bool {
	b.lock()
	defer b.mu.Unlock()
	return b.bonds.IsLinked(with)
}

// trapBroke is linkBroke for a process that traps exits. While the mailbox has no room for the
// message the link stays: Unlink, or the end of the connection, can still end it.
func (b *Mailbox) trapBroke(from ei.Pid, reason ei.Raw, c *Conn) {
	if !b.hasLink(from) {
		return
	}
	b.checkReason(reason, c)
	m := &Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: bytes.Clone(reason)}, conn: c}
	unlink := func() { b.bonds.Break(from) }
	var w inbox.Wait
	defer w.End()
	for {
		b.lock()
		switch {
		case !b.bonds.IsLinked(from):
			b.mu.Unlock()
			return
		case b.own != nil:
			unlink()
			b.mu.Unlock()
			b.notifyFrom(c, m)
			return
		case c == nil: // the exits of this process's own links need no room
			unlink()
			b.push(m)
			b.mu.Unlock()
			return
		}
		if done, _ := b.admitUnlock(m, &w, c.l.Done(), unlink); done {
			return
		}
	}
}
