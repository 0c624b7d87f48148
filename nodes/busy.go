package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// busy counts a function or handler that is about to run. false: the node drains, and the function
// must not run; a request of a process of this node (here) still may, as long as another function
// or handler runs.
func (p *processes) busy(here bool) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.drains {
		return here && p.running.Join()
	}
	p.running.Enter()
	return true
}

// refuse tells the caller of a request, by a DOWN for its monitor of this process, that there will
// be no reply. Callers whose requests are being handled are told nothing.
func (b *Mailbox) refuse(m *Message) {
	from, tag, _, ok := otp.GenCall(m.Payload)
	if !ok {
		return
	}
	ref := otp.MonitorOf(tag)
	id := monitorID{ref, from.Pid.Node}
	b.mu.Lock()
	w, ok := b.watchers.of(id.node)[id]
	if by := m.asker(); ok && by != nil {
		ok = string(from.Pid.Node) == by.peer.Name
	}
	if ok { // else a peer names a process of another peer
		b.watchers.remove(id.node, id)
	}
	b.mu.Unlock()
	if ok {
		sendDown(b.n.tell, b.pid, w, ref, exitReason(ei.Atom("shutdown")))
	}
}
