package nodes

import (
	"bytes"
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/otp"
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
	return wrap("link", string(pid.Node), b.change(ctx, c, func() (*dist.Control, error) {
		switch {
		case b.ended():
			return nil, b.Err()
		// the end of c breaks the links that there were, not a new one
		case c != nil && c.Err() != nil:
			return nil, c.Err()
		}
		return b.bonds.Link(b.pid, pid), nil
	}))
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
		case c != nil && !c.peer.Flags.Has(dist.FlagUnlinkID):
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
		if done, _ := b.admitUnlock(m, &w, c.done, unlink); done {
			return
		}
	}
}

// linkLost ends a link to a process whose node, or worker, is not connected any more; as in
// linkBroke this is one step.
func (b *Mailbox) linkLost(with ei.Pid) {
	b.lock()
	if !b.bonds.Break(with) {
		b.mu.Unlock()
		return
	}
	m := &Message{Control: dist.Control{Op: dist.OpExit, From: with, To: b.pid, Reason: exitReason(noconnection)}}
	if !b.traps.Load() {
		b.notifyEnd(b.endUnlock(noconnection), bonds.Scope{})
		return
	}
	b.notifyUnlock([]*Message{m})
}

// A process that is asked for (SPAWN_REQUEST) is known to whoever awaits the answer, until that
// comes, as a monitor of the request's reference without a target: so the end of the connection
// answers, and a mailbox takes it along to another process.

// awaitSpawn notes that the mailbox asks for a process.
func (b *Mailbox) awaitSpawn(ctx context.Context, ref ei.Ref, node string, over *Conn) error {
	return b.change(ctx, over, func() (*dist.Control, error) {
		switch {
		case b.ended():
			return nil, b.Err()
		case over != nil && over.Err() != nil:
			return nil, over.Err()
		}
		b.bonds.Watch(ref, bonds.Target{Node: node})
		return nil, nil
	})
}

// lost is the message to the mailbox that the end of a connection has ended a monitor, or has left
// a request for a process without an answer.
func (b *Mailbox) lost(ref ei.Ref, t bonds.Target) *Message {
	why := exitReason(noconnection)
	if t.IsPending() {
		return &Message{Control: dist.Control{Op: dist.OpSpawnReply, To: b.pid, Ref: ref, Result: why}}
	}
	return &Message{Control: dist.Control{
		Op: dist.OpMonitorPExit, From: t.Pid, FromName: t.Name, To: b.pid, Ref: ref, Reason: why,
	}}
}

// spawnReply handles a SPAWN_REPLY for a mailbox, or for one of its calls; b is nil if it has
// ended.
func (n *Node) spawnReply(b *Mailbox, m *Message) {
	pid, made := n.spawnedBy(m)
	if _, reason, _ := otp.SpawnResult(m.Result); !made && reason == nil { // a process, but not the sender's
		m.Result = exitReason(notsup)
	}
	asker, parent := b, b
	if b != nil && b.isCall(m.Ref) && !b.hasAsked(m.Ref) {
		asker, parent = nil, nil
		if a := b.openCall(m.Ref); a != nil {
			asker, parent = a.box, a.box
			if a.spawns {
				parent = b
			}
		}
	}
	if asker != nil && !asker.awaits(m) {
		if !asker.ended() { // it is no answer
			return
		}
		asker, parent = nil, nil
	}
	switch {
	case made && b == nil:
		n.orphan(pid, m, "noproc")
	case made && (parent == nil || !parent.parentOf(pid, m)): // whoever asked has given up
		n.orphan(pid, m, "abandoned")
	}
	switch {
	case asker == nil:
	case !asker.origin.private:
		asker.notifyFrom(m.conn, m)
	case made && parent == asker && m.Flags&dist.SpawnMonitored != 0: // it waits for the end
	case !asker.answer(m) && made && parent != asker:
		parent.disown(pid, m.Ref)
		n.orphan(pid, m, "abandoned")
	}
}

// spawnedBy reads the new process from a SPAWN_REPLY; false if there is none, or it is not one of
// the sender's own.
func (n *Node) spawnedBy(m *Message) (ei.Pid, bool) {
	pid, reason, err := otp.SpawnResult(m.Result)
	return pid, err == nil && reason == nil && string(pid.Node) == n.senderOf(m)
}

// senderOf is the node from which a signal comes.
func (n *Node) senderOf(m *Message) string {
	if m.conn == nil {
		return n.Name()
	}
	return m.conn.peer.Name
}

// isCall tells whether a reference is that of a call in the mailbox's name, which has a mailbox of
// its own.
func (b *Mailbox) isCall(ref ei.Ref) bool { return !b.origin.private && ref.ID[2]&callBit != 0 }

// openCall is the mailbox's call with a reference; nil if it is over, or not out yet.
func (b *Mailbox) openCall(ref ei.Ref) *pendingCall {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.pendingCalls[ref]; a != nil && a.box != nil {
		return a
	}
	return nil
}

// watcherOf is the mailbox that has a monitor which was set in b's name: that of a call, or b.
func (b *Mailbox) watcherOf(ref ei.Ref) *Mailbox {
	if b.isCall(ref) {
		if a := b.openCall(ref); a != nil && !a.spawns {
			return a.box
		}
	}
	return b
}

// hasAsked tells whether the mailbox has asked for a process with SpawnRequest, and awaits the
// answer.
func (b *Mailbox) hasAsked(ref ei.Ref) bool {
	b.lock()
	defer b.mu.Unlock()
	t, ok := b.bonds.Target(ref)
	return ok && t.IsPending()
}

// awaits tells whether a SPAWN_REPLY may be the answer to a request of the mailbox, and notes that
// it has come. A program may have sent the request itself (Conn.SendControl).
func (b *Mailbox) awaits(m *Message) bool {
	b.lock()
	defer b.mu.Unlock()
	t, ok := b.bonds.Target(m.Ref)
	switch {
	case !ok || !t.IsPending():
		return !b.origin.private
	case t.Node != b.n.senderOf(m):
		return false
	}
	b.bonds.Unwatch(t, m.Ref)
	return true
}

// parentOf begins the link and the monitor that a process has asked for in a SPAWN_REQUEST: on the
// other side they are there already. False if the process has ended.
func (b *Mailbox) parentOf(pid ei.Pid, m *Message) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return false
	}
	b.bonds.TakeChild(pid, m.Ref, m.Flags)
	return true
}

// disown takes back what parentOf has begun.
func (b *Mailbox) disown(pid ei.Pid, ref ei.Ref) {
	b.lock()
	defer b.mu.Unlock()
	b.bonds.Disown(pid, ref)
}

// answer gives a call's mailbox the message that it waits for; false if the call is over.
func (b *Mailbox) answer(m *Message) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return false
	}
	b.push(m)
	return true
}

// orphan ends the link and the monitor of a new process whose parent has ended, or has given up.
func (n *Node) orphan(pid ei.Pid, m *Message, reason ei.Atom) {
	if m.Flags&dist.SpawnLinked != 0 {
		n.tell(bonds.LinkExit(m.To, pid, exitReason(reason)))
	}
	if m.Flags&dist.SpawnMonitored != 0 {
		n.tell(bonds.Demonitor(m.To, bonds.Target{Pid: pid}, m.Ref))
	}
}

// change is changeNow, but first waits while the connection's queue is full.
func (b *Mailbox) change(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c != nil {
		if err := c.awaitRoom(ctx); err != nil && (ctx.Err() != nil || c.Err() == nil) {
			return err
		}
	}
	return b.changeNow(ctx, c, alter)
}

// changeNow changes a link or a monitor and sends the signal about the change, as one step: a
// signal of the other side about the same link or monitor is handled before both or after both. c
// is nil for a process of this node. alter runs with b.mu held; if it returns a nil Control,
// nothing is sent.
func (b *Mailbox) changeNow(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c == nil {
		return b.changeHere(ctx, alter)
	}
	// waits while c is frozen: the signal could not go out
	if err := b.lockWith(ctx, c); err != nil {
		return err
	}
	defer b.mu.Unlock()
	ctl, err := alter()
	if ctl != nil {
		c.tell(ctl)
	}
	return err
}

// lockWith is lockBefore for a change of the mailbox's links or monitors with the peer of c: it
// waits while c is frozen, too.
func (b *Mailbox) lockWith(ctx context.Context, c *Conn) error {
	for {
		if err := b.lockBefore(ctx, life.Ending); err != nil || !c.life.IsFrozen() {
			return err
		}
		b.mu.Unlock()
		if err := c.life.Before(ctx, life.Frozen); err != nil {
			return err
		}
	}
}

// changeHere changes a link or monitor between the mailbox and another process of this node, and
// signals that process, as one step. If the other process does not exist, the mailbox is told so
// afterwards.
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
	n.procs.bonding.Unlock()
	switch {
	case !there:
		n.noproc(ctl)
	// the mailbox ended before the other process knew of the link
	case ctl != nil && ctl.Op == dist.OpLink && b.ended():
		n.tell(bonds.LinkExit(b.pid, ctl.To, exitReason(b.why)))
	}
	return err
}

// lockBoth takes the lock of changes between two processes of this node, and locks the mailbox.
func (b *Mailbox) lockBoth(ctx context.Context) error {
	p := &b.n.procs
	for {
		p.bonding.Lock()
		b.mu.Lock()
		if b.mayChange(life.Ending) {
			return nil
		}
		b.mu.Unlock()
		p.bonding.Unlock()
		if err := b.n.life.Before(ctx, life.Ending); err != nil {
			return err
		}
	}
}
