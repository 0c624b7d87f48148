package nodes

import (
	"bytes"
	"context"
	"math/rand/v2"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A link is how one process sees a link: active, or ended by this side and remembered until the
// other side has acknowledged that, so that a LINK which was already on its way is ignored. See
// erl_dist_protocol, "Link Protocol", "New Link Protocol".
type link struct {
	active   bool
	unlinkID uint64 // of an UNLINK_ID not yet acknowledged; 0: none
}

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
		if b.ended() {
			return nil, b.Err()
		}
		l, _ := b.links.get(pid.Node, pid)
		switch {
		// the end of c breaks the links that there were, not a new one
		case c != nil && c.Err() != nil:
			return nil, c.Err()
		case l == nil:
			b.links.put(pid.Node, pid, &link{active: true})
		case l.active:
			return nil, nil
		default: // the new link overrides an outstanding unlink
			*l = link{active: true}
		}
		return &dist.Control{Op: dist.OpLink, From: b.pid, To: pid}, nil
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
		l, _ := b.links.get(pid.Node, pid)
		switch {
		case b.hasMoved() || c != nil && c.Err() == ErrMoved: // and the link with it
			return nil, ErrMoved
		case l == nil || !l.active:
			return nil, nil
		case !here && (c == nil || c.Err() != nil): // the end of the connection breaks the link
			l.active = false
			return nil, nil
		}
		// the old UNLINK is never acknowledged
		if c != nil && !c.peer.Flags.Has(dist.FlagUnlinkID) {
			b.links.remove(pid.Node, pid)
			return &dist.Control{Op: dist.OpUnlink, From: b.pid, To: pid}, nil
		}
		*l = link{unlinkID: rand.Uint64()>>1 + 1}
		b.room.Ring() // an exit signal of this link may wait for room: see trapBroke
		return &dist.Control{Op: dist.OpUnlinkID, ID: l.unlinkID, From: b.pid, To: pid}, nil
	}))
}

// linked handles a LINK from a process; false if this mailbox has ended.
func (b *Mailbox) linked(from ei.Pid) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.isGoneFor(from) {
		return false
	}
	l, _ := b.links.get(from.Node, from)
	switch {
	case l == nil:
		b.links.put(from.Node, from, &link{active: true})
	case l.unlinkID == 0: // a LINK while our unlink is outstanding is ignored
		l.active = true
	}
	return true
}

// unlinked handles an UNLINK_ID, and acknowledges it in the same step.
func (b *Mailbox) unlinked(from ei.Pid, acknowledge func()) {
	b.lock()
	defer b.mu.Unlock()
	defer acknowledge()
	if l, _ := b.links.get(from.Node, from); l != nil && l.unlinkID == 0 {
		b.links.remove(from.Node, from)
	}
}

// unlinkDone handles an UNLINK_ID_ACK.
func (b *Mailbox) unlinkDone(from ei.Pid, id uint64) {
	b.lock()
	defer b.mu.Unlock()
	if l, _ := b.links.get(from.Node, from); l != nil && l.unlinkID == id {
		l.unlinkID = 0
		if !l.active {
			b.links.remove(from.Node, from)
		}
	}
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
	if l, _ := b.links.get(from.Node, from); l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	b.links.remove(from.Node, from)
	if why == ei.Atom("normal") && from != b.pid {
		b.mu.Unlock()
		return
	}
	b.notifyEnd(b.endUnlock(why), scope{})
}

func (b *Mailbox) hasLink(with ei.Pid) bool {
	b.lock()
	defer b.mu.Unlock()
	l, _ := b.links.get(with.Node, with)
	return l != nil && l.active
}

// trapBroke is linkBroke for a process that traps exits. While the mailbox has no room for the
// message the link stays: Unlink, or the end of the connection, can still end it.
func (b *Mailbox) trapBroke(from ei.Pid, reason ei.Raw, c *Conn) {
	if !b.hasLink(from) {
		return
	}
	b.checkReason(reason, c)
	m := &Message{Control: dist.Control{Op: dist.OpExit, From: from, To: b.pid, Reason: bytes.Clone(reason)}, conn: c}
	var w roomWait
	defer w.end()
	for {
		b.lock()
		if l, _ := b.links.get(from.Node, from); l == nil || !l.active {
			b.mu.Unlock()
			return
		}
		switch {
		case b.hook != nil:
			b.links.remove(from.Node, from)
			b.mu.Unlock()
			b.notifyFrom(c, m)
			return
		case c == nil || b.takes(m, &w): // the exits of this process's own links need no room
			b.links.remove(from.Node, from)
			b.pushLocked(m)
			b.unlockTellingOfOverflow(m)
			return
		case b.opts.Full == FullExit:
			b.mu.Unlock()
			b.exitFull()
			return
		}
		b.mu.Unlock()
		if !w.wait(b, m, c.done) {
			return
		}
	}
}

// linkLost ends a link to a process whose node, or worker, is not connected any more; as in
// linkBroke this is one step.
func (b *Mailbox) linkLost(with ei.Pid) {
	b.lock()
	l, _ := b.links.get(with.Node, with)
	if l == nil || !l.active {
		b.mu.Unlock()
		return
	}
	b.links.remove(with.Node, with)
	m := &Message{Control: dist.Control{Op: dist.OpExit, From: with, To: b.pid, Reason: exitReason(noconnection)}}
	if !b.traps.Load() {
		b.notifyEnd(b.endUnlock(noconnection), scope{})
		return
	}
	b.notifyUnlock([]*Message{m})
}

// A process that is asked for (SPAWN_REQUEST) is known to whoever awaits the answer, until that
// comes, as a monitor of the request's reference without a target: so the end of the connection
// answers, and a mailbox takes it along to another process.

// isPending tells whether a monitor stands for a process that has been asked for.
func (t target) isPending() bool { return t.pid == ei.Pid{} && t.name == "" }

// awaitSpawn notes that the mailbox asks for a process.
func (b *Mailbox) awaitSpawn(ctx context.Context, ref ei.Ref, node string, over *Conn) error {
	return b.change(ctx, over, func() (*dist.Control, error) {
		switch {
		case b.ended():
			return nil, b.Err()
		case over != nil && over.Err() != nil:
			return nil, over.Err()
		}
		b.watching.put(ei.Atom(node), ref, target{node: node})
		return nil, nil
	})
}

// lost is the message to the mailbox that the end of a connection has ended a monitor, or has left
// a request for a process without an answer.
func (b *Mailbox) lost(ref ei.Ref, t target) *Message {
	why := exitReason(noconnection)
	if t.isPending() {
		return &Message{Control: dist.Control{Op: dist.OpSpawnReply, To: b.pid, Ref: ref, Result: why}}
	}
	return &Message{Control: dist.Control{
		Op: dist.OpMonitorPExit, From: t.pid, FromName: t.name, To: b.pid, Ref: ref, Reason: why,
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
	case !asker.private:
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
func (b *Mailbox) isCall(ref ei.Ref) bool { return !b.private && ref.ID[2]&callBit != 0 }

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
	t, ok := b.watching.find(ref)
	return ok && t.isPending()
}

// awaits tells whether a SPAWN_REPLY may be the answer to a request of the mailbox, and notes that
// it has come. A program may have sent the request itself (Conn.SendControl).
func (b *Mailbox) awaits(m *Message) bool {
	b.lock()
	defer b.mu.Unlock()
	t, ok := b.watching.find(m.Ref)
	switch {
	case !ok || !t.isPending():
		return !b.private
	case t.node != b.n.senderOf(m):
		return false
	}
	b.watching.remove(ei.Atom(t.node), m.Ref)
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
	if l, _ := b.links.get(pid.Node, pid); l == nil && m.Flags&dist.SpawnLinked != 0 {
		b.links.put(pid.Node, pid, &link{active: true})
	}
	if _, known := b.watching.find(m.Ref); !known && m.Flags&dist.SpawnMonitored != 0 {
		b.watching.put(pid.Node, m.Ref, target{node: string(pid.Node), pid: pid})
	}
	return true
}

// disown takes back what parentOf has begun.
func (b *Mailbox) disown(pid ei.Pid, ref ei.Ref) {
	b.lock()
	defer b.mu.Unlock()
	b.links.remove(pid.Node, pid)
	b.watching.remove(pid.Node, ref)
}

// answer gives a call's mailbox the message that it waits for; false if the call is over.
func (b *Mailbox) answer(m *Message) bool {
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return false
	}
	b.pushLocked(m)
	return true
}

// orphan ends the link and the monitor of a new process whose parent has ended, or has given up.
func (n *Node) orphan(pid ei.Pid, m *Message, reason ei.Atom) {
	if m.Flags&dist.SpawnLinked != 0 {
		n.tell(linkExit(m.To, pid, exitReason(reason)))
	}
	if m.Flags&dist.SpawnMonitored != 0 {
		n.tell(demonitor(m.To, target{pid: pid}, m.Ref))
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
		n.tell(linkExit(b.pid, ctl.To, exitReason(b.why)))
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
