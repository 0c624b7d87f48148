package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A mailbox that is held neither gives nor takes messages: its node is frozen, or not yet restored.
// A goroutine that wants to change something about the mailbox waits while the node is frozen. In a
// node that is not yet restored it does not wait: there Config.Setup makes changes, and must not
// wait.

// lock locks the mailbox for a change, which waits while it is frozen.
func (b *Mailbox) lock() { _ = b.lockWithin(context.Background()) }

// lockWithin is lock, until ctx ends.
func (b *Mailbox) lockWithin(ctx context.Context) error {
	for {
		locked, change := b.lockUnlessHeld()
		if locked {
			return nil
		}
		if change == nil {
			continue
		}
		if err := wait.For(ctx, change); err != nil {
			return err
		}
	}
}

// lockUnlessHeld locks the mailbox unless it is held. In that case the caller looks again once
// change is closed (the node's gate has opened, or was stirred), or at once if change is nil: the
// mailbox is about to go on.
func (b *Mailbox) lockUnlessHeld() (locked bool, change <-chan struct{}) {
	b.mu.Lock()
	// one that has ended while staged is let go by nobody
	if !b.held.Load() || b.n.staged.Load() || b.ended() {
		return true, nil
	}
	defer b.mu.Unlock()
	shut, change := b.n.frozen.State()
	if !shut {
		return false, nil
	}
	return false, change
}

// deliverHeld deals with a message for a mailbox that is held: in a node that is not yet restored
// the message is queued, otherwise deliverHeld waits until the freeze is over.
func (b *Mailbox) deliverHeld(m *Message, cancel <-chan struct{}) fate {
	shut, change := b.n.frozen.State()
	b.mu.Lock()
	switch {
	case b.ended():
		b.mu.Unlock()
		return refused
	case !b.held.Load():
		b.mu.Unlock()
		return notYet
	case b.n.staged.Load():
		b.pushLocked(m)
		b.mu.Unlock()
		return delivered
	}
	b.mu.Unlock()
	if !shut { // the mailbox is about to go on
		return notYet
	}
	select {
	case <-change:
		return notYet
	case <-b.over:
	case <-cancel:
	}
	return refused
}

// bond takes the token for changes of links and monitors between processes of this node;
// <-p.bonding gives it back.
func (p *processes) bond(ctx context.Context) error {
	select {
	case p.bonding <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

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
		b.n.tell(down(b.pid, w, ref, exitReason(ei.Atom("shutdown"))))
	}
}
