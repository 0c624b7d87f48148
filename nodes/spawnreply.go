package nodes

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A process that is asked for (SPAWN_REQUEST) is known to whoever awaits the answer, until that
// comes, as a monitor of the request's reference without a target: so the end of the connection
// answers, and a mailbox takes it along to another process.

// awaitSpawn notes that the mailbox asks for a process.
func (b *Mailbox) awaitSpawn(ctx context.Context, ref ei.Ref, node string, over *Conn) error {
	return b.changeAlive(ctx, over, func() *dist.Control {
		b.bonds.Watch(ref, bonds.Target{Node: node})
		return nil
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

// A spawnReply is a SPAWN_REPLY, and whom it concerns:
//
//	who has asked          asker: hears of it    parent: has the link and the monitor
//	Node.ERPC              the call's mailbox    the call's mailbox
//	Mailbox.ERPC           the call's mailbox    the call's mailbox
//	Mailbox.Spawn…         the call's mailbox    the mailbox
//	Mailbox.SpawnRequest   the mailbox           the mailbox
//	who has given up       –                     –
//	who has ended          –                     –
//
// A process that has no parent, or one that has given up meanwhile, is an orphan.
type spawnReply struct {
	n             *Node
	m             *Message
	pid           ei.Pid // the new process …
	made          bool   // … if there is one
	asker, parent *Mailbox
}

// takeSpawnReply handles a SPAWN_REPLY for a mailbox, or for one of its calls; b is nil if it has
// ended.
func (n *Node) takeSpawnReply(b *Mailbox, m *Message) {
	r := &spawnReply{n: n, m: m}
	r.pid, r.made = n.spawnedBy(m)
	if _, reason, _ := otp.SpawnResult(m.Result); !r.made && reason == nil { // a process, but not the sender's
		m.Result = exitReason(notsup)
	}
	if b != nil && !r.find(b) {
		return
	}
	switch {
	case !r.made:
		n.orphansOf(m.conn).take(m.Ref)
	case b == nil:
		n.orphan(r.pid, m, "noproc")
	case r.parent == nil || !r.parent.parentOf(r.pid, m):
		n.orphan(r.pid, m, "abandoned")
	}
	if r.asker != nil {
		r.tell()
	}
}

// find finds whom the reply to b concerns; false if it is no reply.
func (r *spawnReply) find(b *Mailbox) bool {
	r.asker, r.parent = b, b
	if b.isCall(r.m.Ref) && !b.hasAsked(r.m.Ref) {
		a := b.openCall(r.m.Ref)
		if a == nil {
			r.asker, r.parent = nil, nil
			return true
		}
		if r.asker = a.box; !a.spawns {
			r.parent = a.box
		}
	}
	if r.asker.awaits(r.m) {
		return true
	}
	ended := r.asker.ended()
	r.asker, r.parent = nil, nil
	return ended
}

// tell gives the reply to whoever awaits it.
func (r *spawnReply) tell() {
	switch {
	case !r.asker.origin.private:
		r.asker.notifyFrom(r.m.conn, r.m)
	case r.made && r.parent == r.asker && r.m.Flags&dist.SpawnMonitored != 0: // it waits for the end
	case !r.asker.answer(r.m) && r.made && r.parent != r.asker:
		r.parent.disown(r.pid, r.m.Ref)
		r.n.orphan(r.pid, r.m, "abandoned")
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
	return m.conn.Name()
}

// isCall tells whether a reference is that of a call which this mailbox makes. Such a call has
// another mailbox, of its own, for the reply.
func (b *Mailbox) isCall(ref ei.Ref) bool { return !b.origin.private && ids.IsCall(ref) }

// openCall is the mailbox's call with a reference; nil if it is over, or not out yet.
func (b *Mailbox) openCall(ref ei.Ref) *pendingCall {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, _ := b.pendingCalls.Get(ref); a != nil && a.box != nil {
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

// orphan ends the link and the monitor of a new process whose parent has given up, or has ended:
// then the link has the parent's exit reason, if it is known.
func (n *Node) orphan(pid ei.Pid, m *Message, unknown ei.Atom) {
	reason, known := n.orphansOf(m.conn).take(m.Ref)
	switch {
	case !known:
		reason = exitReason(unknown)
	case m.conn != nil:
		reason = m.conn.acceptable(reason)
	}
	if m.Flags&dist.SpawnLinked != 0 {
		n.tell(bonds.LinkExit(m.To, pid, reason))
	}
	if m.Flags&dist.SpawnMonitored != 0 {
		n.tell(bonds.Demonitor(m.To, bonds.Target{Pid: pid}, m.Ref))
	}
}

// orphans are the processes that others which have ended since have asked one node for: what the
// link is to tell each, when its SPAWN_REPLY comes, is its parent's exit reason.
type orphans struct {
	mu      sync.Mutex
	reasons map[ei.Ref]ei.Raw // by the references of the requests
}

func (o *orphans) put(ref ei.Ref, reason ei.Raw) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lazymap.Put(&o.reasons, ref, reason)
}

func (o *orphans) take(ref ei.Ref) (reason ei.Raw, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	reason, ok = o.reasons[ref]
	delete(o.reasons, ref)
	return reason, ok
}

func (o *orphans) state() (list []states.Orphan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ref, reason := range o.reasons {
		list = append(list, states.Orphan{Ref: ref, Reason: reason})
	}
	return list
}

// orphansOf are those of the node at the other end of a connection; nil: of this one.
func (n *Node) orphansOf(c *Conn) *orphans {
	if c == nil {
		return &n.procs.orphans
	}
	return &c.orphans
}

// leaveOrphans notes the exit reason for the processes that the mailbox, which ends, or its calls
// have asked for. Without a connection no answer is to come. b.mu is held.
func (b *Mailbox) leaveOrphans(reason ei.Term) {
	var raw ei.Raw
	leave := func(ref ei.Ref, over *Conn) {
		if raw == nil {
			raw = exitReason(reason)
		}
		b.n.orphansOf(over).put(ref, raw)
	}
	for ref, t := range b.bonds.Watching() {
		if !t.IsPending() || b.origin.private { // a call's own process monitors, and has no link
			continue
		}
		if c := b.n.Conn(t.Node); c != nil || t.Node == b.n.Name() {
			leave(ref, c)
		}
	}
	for ref, a := range b.pendingCalls.All() {
		if a.spawns && a.box != nil {
			leave(ref, a.box.origin.over)
		}
	}
}
