package nodes

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// How messages get into a mailbox, from the outermost function to the innermost:
//
//	deliver     what was sent, once there is room, as the options say; the reply to a call of the mailbox goes to that call
//	put         the same without a look for such a call
//	notifyFrom  signals: a peer's are delivered like messages
//	notify      signals of this process

// A fate is the outcome of an attempt to give a message to a process.
type fate uint8

const (
	delivered fate = iota // the message is the process's
	refused               // the process has ended, or the delivery was cancelled
	// the process is held, or was until just now: the delivery is to be tried again
	notYet
)

// deliver puts a message into the mailbox. What a peer has sent, or a running function sends, does
// not wait for the mailbox's receiver, who may be waiting for what the same goroutine is to bring:
// see the file overflow.go. What else is sent here waits for room as the options say, until cancel
// is closed. It is false when the mailbox has ended or the wait was cancelled.
func (b *Mailbox) deliver(m *Message, cancel <-chan struct{}) bool {
	return b.takeMailboxReply(m, cancel) || b.put(m, cancel)
}

// put is deliver for a message that is not the reply to a call that the mailbox has made.
func (b *Mailbox) put(m *Message, cancel <-chan struct{}) bool {
	if b.own != nil {
		return b.giveOwn(m, cancel)
	}
	var w inbox.Wait
	defer w.End()
	for {
		b.mu.Lock()
		turnsAway := b.served.is && m.conn != nil && b.n.life.Refuses()
		if b.ended() || turnsAway {
			b.mu.Unlock()
			if turnsAway {
				b.refuse(m)
			}
			return false
		}
		if b.isHeld() {
			b.mu.Unlock()
			if f := b.deliverHeld(m, cancel); f != notYet {
				return f == delivered
			}
			continue
		}
		if !b.isOpenTo(m) {
			b.mu.Unlock()
			return true
		}
		if done, is := b.admitUnlock(m, &w, cancel, nil); done {
			return is
		}
	}
}

// admitUnlock gives the mailbox a message, and calls then, in one step, if there is room, or none
// is needed. Else it waits until there may be some, or ends the mailbox, as the options say; done
// says that there is nothing to be tried again, and is whether the message is the mailbox's. b.mu
// is held on entry, and released on return. then may be nil.
func (b *Mailbox) admitUnlock(m *Message, w *inbox.Wait, cancel <-chan struct{}, then func()) (done, is bool) {
	e := entryOf(m)
	verdict := b.inbox.Judge(&e)
	if verdict == inbox.Over {
		verdict = b.inbox.Overflow(&e, w, m.conn.inboxReader())
	}
	switch verdict {
	case inbox.Fits:
		if then != nil {
			then()
		}
		if !e.Overflows() {
			b.pushLocked(m, e)
			b.mu.Unlock()
			return true, true
		}
		peer := m.payer() // once it is in, it is whoever's who receives it
		b.pushLocked(m, e)
		b.unlockTellingOfOverflow(peer, e.Cost)
		return true, true
	case inbox.TooMuch:
		b.mu.Unlock()
		b.exitFull("that is its own limit")
		return true, false
	}
	b.mu.Unlock()
	switch w.For(b.Done(), cancel) {
	case inbox.Cancelled:
		return true, false
	case inbox.Late:
		b.n.procs.fullest(b, m.payer(), true).exitFull(fmt.Sprintf("a message of %s has waited %v for room", peerOr(m.payer()), inbox.Patience))
	case inbox.Held:
		b.n.procs.fullest(b, m.payer(), false).exitFull(fmt.Sprintf("for %v out of %v full mailboxes have held the connection with %s",
			inbox.HoldLimit, inbox.HoldWindow, m.payer()))
	}
	return false, false
}

// entryOf is what a message is in an inbox.
func entryOf(m *Message) inbox.Entry[*Message] {
	return inbox.Entry[*Message]{Message: m, Cost: cost(m), Ahead: m.goesAhead(), Waits: m.waits()}
}

// giveOwn is put for one of the node's own processes. While the process is held it waits, and then
// tries again.
func (b *Mailbox) giveOwn(m *Message, cancel <-chan struct{}) bool {
	for {
		f := b.serveOwn(m)
		if f == notYet {
			f = b.deliverHeld(m, cancel)
		}
		if f != notYet {
			return f == delivered
		}
	}
}

// push is pushLocked for a message that needs no room; b.mu is held.
func (b *Mailbox) push(m *Message) { b.pushLocked(m, entryOf(m)) }

// pushLocked gives the mailbox a message, and ends the alias that it has come to if that is for one
// message. b.mu is held.
func (b *Mailbox) pushLocked(m *Message, e inbox.Entry[*Message]) {
	if m.Op == dist.OpAliasSend {
		b.useAlias(m.Ref)
	}
	if b.served.is && m.conn == nil && otp.IsCall(m.Payload) {
		b.served.asked = m
	}
	b.inbox.Push(e)
}

// notifyFrom puts a signal's message into the mailbox. If it is from another node the limits are
// those for any message, since a peer may send any number of signals. It is false when the mailbox
// has gone on in another process, or the connection has ended before there was room.
func (b *Mailbox) notifyFrom(c *Conn, m *Message) bool {
	if c == nil {
		return b.notify(m)
	}
	return b.deliver(m, c.l.Done())
}

// notify puts a signal's message into the mailbox whatever its limit; false when the mailbox has
// gone on in another process.
func (b *Mailbox) notify(m *Message) bool {
	if b.own != nil {
		return b.giveOwn(m, nil) || !b.hasMoved()
	}
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return !b.hasMoved()
	}
	if b.isOpenTo(m) {
		b.push(m)
	}
	return true
}

// answersCall tells whether a message answers a call of this node, even if it comes too late.
func (n *Node) answersCall(m *Message) bool {
	ref, ok := m.Ref, m.Op == dist.OpMonitorPExit || m.Op == dist.OpAliasSend || m.Op == dist.OpSpawnReply
	if !ok {
		ref, _, ok = otp.ReplyTag(m.Payload, m.mem.Refs()...)
	}
	if !ok || !ids.IsCall(ref) {
		return false
	}
	name, creation, err := n.identity()
	return err == nil && ref.Node == name && ref.Creation == creation
}

// takeMailboxReply gives the reply to a pending call to its call, whatever the mailbox's limit. A
// reply that no call waits for is dropped. It is false for any other message.
func (b *Mailbox) takeMailboxReply(m *Message, cancel <-chan struct{}) bool {
	ref, _, ok := otp.ReplyTag(m.Payload)
	if !ok || !ids.IsCall(ref) || b.ended() {
		return false
	}
	b.mu.Lock()
	ours := !b.origin.private && ref.Node == b.pid.Node && ref.Creation == b.pid.Creation
	var box *Mailbox
	if a, ok := b.pendingCalls.Get(ref); ok {
		box = a.box
	}
	b.mu.Unlock()
	if !ours {
		return false
	}
	if box == nil || !box.put(m, cancel) {
		b.n.stats.undeliverable.Add(1)
	}
	return true
}

// deafen drops what is unread, and what is still to come: nobody will receive. It is for the
// process of a function; b may be nil.
func (b *Mailbox) deafen() {
	if b == nil || b.origin.spawned == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n.stats.undeliverable.Add(int64(b.inbox.Deafen()))
}

// register makes a process under a name, if there is one, and links it with its parent. h is nil
// but for the node's own.
func (n *Node) register(name string, h Handler, o *MailboxOptions, edit ...func(b *Mailbox)) (*Mailbox, error) {
	b, err := n.newMailbox(h, o, edit...)
	if err != nil {
		return nil, err
	}
	if name != "" {
		if err := n.Register(n.ctx, name, b); err != nil {
			b.Close()
			return nil, err
		}
	}
	if parent := b.opts.Parent; parent != (ei.Pid{}) {
		if err := b.Link(n.ctx, parent); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// serveOwn has one of the node's own processes handle a message, unless the process is held, or the
// node shuts down.
func (b *Mailbox) serveOwn(m *Message) fate {
	if b.ended() {
		return refused
	}
	if !b.n.life.Begin(m.conn == nil) { // the node shuts down
		b.refuse(m)
		return refused
	}
	defer b.n.life.Work.Leave()
	if b.isHeld() { // a freeze waits for the work that began before
		return notYet
	}
	b.own(b, m)
	return delivered
}

// deliverHeld deals with a message for a mailbox that is held: a staged one queues it, otherwise
// deliverHeld waits until the freeze is over.
func (b *Mailbox) deliverHeld(m *Message, cancel <-chan struct{}) fate {
	_, change := b.n.life.State()
	b.mu.Lock()
	switch {
	case b.ended():
		b.mu.Unlock()
		return refused
	case !b.isHeld():
		b.mu.Unlock()
		return notYet
	case b.staged.Load():
		if b.isOpenTo(m) {
			b.push(m)
		}
		b.mu.Unlock()
		return delivered
	}
	b.mu.Unlock()
	select {
	case <-change:
		return notYet
	case <-b.Done():
	case <-cancel:
	}
	return refused
}

// refuse tells the caller of a request, by a DOWN for its monitor of this process, that there will
// be no reply. Callers whose requests are being handled are told nothing.
func (b *Mailbox) refuse(m *Message) {
	q := otp.ReadRequest(m.Payload)
	if q.Kind != otp.Call {
		return
	}
	ref := otp.MonitorOf(q.Tag)
	id := bonds.MonitorID{Ref: ref, Node: q.From.Pid.Node}
	b.mu.Lock()
	w, ok := b.bonds.Watcher(id)
	if by := m.asker(); ok && by != nil {
		ok = string(q.From.Pid.Node) == by.Name()
	}
	if ok { // else a peer names a process of another peer
		b.bonds.TakeDemonitor(id)
	}
	b.mu.Unlock()
	if ok {
		b.n.tell(bonds.Down(b.pid, w, ref, exitReason(ei.Atom("shutdown"))))
	}
}

// isOpenTo tells whether a message may come in: one to an alias as long as that is active, and with
// priority only if the alias and the mailbox are for that; none where nobody receives. b.mu is
// held.
func (b *Mailbox) isOpenTo(m *Message) bool {
	switch {
	case b.inbox.IsDeaf():
		b.n.stats.undeliverable.Add(1)
		return false
	case m.Op != dist.OpAliasSend:
		return true
	}
	how := b.bonds.Alias(m.Ref)
	if how == 0 && m.Ref != b.origin.ref {
		b.n.stats.undeliverable.Add(1)
		return false
	}
	m.Flags = b.priority(how, m.Flags)
	return true
}

// priority is what a message may keep of its flags that has come to an alias.
func (b *Mailbox) priority(how bonds.Alias, flags uint64) uint64 {
	if !b.opts.Priority || how&bonds.Priority == 0 {
		return 0
	}
	return flags & dist.AltactPrio
}
