package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A mailbox that is held neither gives nor takes messages: its node is frozen, or not yet restored. A goroutine that wants to change
// something about the mailbox waits while the node is frozen. In a node that is not yet restored it does not wait: there Config.Setup makes
// changes, and must not wait.

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

// lockUnlessHeld locks the mailbox unless it is held. In that case the caller looks again once change is closed (the node's gate has opened,
// or was stirred), or at once if change is nil: the mailbox is about to go on.
func (b *Mailbox) lockUnlessHeld() (locked bool, change <-chan struct{}) {
	b.mu.Lock()
	if !b.held.Load() || b.n.staged.Load() || b.ended() { // one that has ended while staged is let go by nobody
		return true, nil
	}
	defer b.mu.Unlock()
	shut, change := b.n.frozen.State()
	if !shut {
		return false, nil
	}
	return false, change
}

// hold holds the mailbox, once a change that has begun is done.
func (b *Mailbox) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended() { // an ended one is on no table any more: letting go would not find it
		b.held.Store(true)
	}
}

// unhold lets the mailbox go on.
func (b *Mailbox) unhold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held.Store(false)
	if b.first < len(b.queue) {
		b.wakeReceiver()
	}
}

// deliverHeld deals with a message for a mailbox that is held: in a node that is not yet restored the
// message is queued, otherwise deliverHeld waits until the freeze is over.
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

// moveOut ends the mailbox in this process, since it goes on in another one. Only goroutines that use it here notice: no signal is sent.
func (b *Mailbox) moveOut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return
	}
	b.moved = true
	b.held.Store(false)
	b.restoreAll()
	b.queue, b.first, b.bytes = nil, 0, 0
	b.bondTables, b.downs = bondTables{}, nil
	b.nodeTypes, b.nodesUp, b.nodesAway = 0, nil, nil
	b.n.procs.end(b)
}

// bond takes the token for changes of links and monitors between processes of this node; <-p.bonding gives it back.
func (p *processes) bond(ctx context.Context) error {
	select {
	case p.bonding <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hold holds the tables and all mailboxes.
func (p *processes) hold(ctx context.Context) (unhold func(), err error) {
	if err := p.bond(ctx); err != nil { // so that no link is known to one side only
		return nil, err
	}
	p.mu.Lock()
	p.held = true
	p.mu.Unlock()
	boxes := p.all()
	for _, b := range boxes {
		b.hold()
	}
	<-p.bonding
	return func() {
		p.mu.Lock()
		p.held = false
		p.mu.Unlock()
		_ = p.bond(context.Background())
		for _, b := range boxes {
			b.unhold()
		}
		<-p.bonding
	}, nil
}

// unfrozen waits for the end of a freeze. In a node that is not yet restored it does not wait.
func (n *Node) unfrozen(ctx context.Context) error {
	if n.staged.Load() {
		return nil
	}
	return n.frozen.Pass(ctx)
}

// moveOut ends every mailbox in this process, as Mailbox.moveOut does.
func (p *processes) moveOut() {
	p.mu.Lock()
	p.held, p.closed, p.drains = false, true, true
	p.mu.Unlock()
	for _, b := range p.all() {
		b.moveOut()
	}
}
