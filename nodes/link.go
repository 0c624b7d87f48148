package nodes

import (
	"bytes"
	"context"
	"math/rand/v2"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
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
		b.room.Ring() // a signal of the link may wait for it
		return &dist.Control{Op: dist.OpUnlinkID, ID: l.unlinkID, From: b.pid, To: pid}, nil
	}))
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

// linkBroke takes the exit signal of a link; c is what it came over, nil for this node. The end of the link and what it brings are one step,
// so that nothing comes through a link that Unlink has ended.
func (b *Mailbox) linkBroke(from ei.Pid, reason ei.Raw, c *Conn) {
	if b.opts.TrapExit {
		b.trapBroke(from, reason, c)
		return
	}
	if !b.hasLink(from) { // before the reason is decoded, which may be large
		return
	}
	why := b.exitTerm(reason, c)
	b.lock()
	if l := b.links[from]; l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	delete(b.links, from)
	if why == ei.Atom("normal") && from != b.pid {
		b.mu.Unlock()
		return
	}
	b.departBy(c, b.endUnlock(why))
}

func (b *Mailbox) hasLink(with ei.Pid) bool {
	b.lock()
	defer b.mu.Unlock()
	l := b.links[with]
	return l != nil && l.active
}

// trapBroke is linkBroke of a process that traps exits. While there is no room for the message the link stays: Unlink ends it, and so does
// the end of the connection.
func (b *Mailbox) trapBroke(from ei.Pid, reason ei.Raw, c *Conn) {
	if !b.hasLink(from) {
		return
	}
	b.checkReason(reason, c)
	m := &Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: bytes.Clone(reason)}, conn: c}
	for {
		b.lock()
		if l := b.links[from]; l == nil || !l.active {
			b.mu.Unlock()
			return
		}
		room, change, full := b.noRoom(m, c)
		switch {
		case b.handler != nil:
			delete(b.links, from)
			b.mu.Unlock()
			b.notifyFrom(c, m)
			return
		case room == nil && full == nil:
			delete(b.links, from)
			b.pushLocked(m)
			b.mu.Unlock()
			return
		case full != nil:
			b.departBy(c, b.endUnlock(full))
			return
		}
		b.mu.Unlock()
		if !b.awaitRoom(c, room, change, c.done) {
			return
		}
	}
}

// noRoom tells of a message that came over c what put would do of it: wait for one of the two channels, or end the process, with reason
// full. Where both are nil there is room. b.mu is held.
func (b *Mailbox) noRoom(m *Message, c *Conn) (room, change <-chan struct{}, full ei.Term) {
	if c == nil || b.bytes == 0 || b.bytes+cost(m) <= b.opts.Limit {
		return nil, nil, nil
	}
	if b.opts.Full == FullExit {
		return nil, nil, ei.Atom("mailbox_full")
	}
	halts, change := c.halts()
	if halts { // what its connection has read already stays with the mailbox
		return nil, nil, nil
	}
	return b.room.Next(), change, nil
}

// linkLost ends a link whose other side is not connected any more; one step, as in linkBroke.
func (b *Mailbox) linkLost(with ei.Pid, after *aftermath) {
	b.lock()
	l := b.links[with]
	if l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	delete(b.links, with)
	m := &Message{Control: dist.Control{Op: dist.OpExit, From: with, To: b.pid, Reason: exitReason(noconnection)}}
	switch {
	case !b.opts.TrapExit:
		after.departed(b, b.endUnlock(noconnection))
	case b.handler != nil:
		b.mu.Unlock()
		after.notify(b, m)
	default:
		b.pushLocked(m)
		b.mu.Unlock()
	}
}
