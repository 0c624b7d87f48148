package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A mailbox that is held neither gives nor takes: its node is frozen, or not yet restored. Whoever wants to change something about it
// waits while the node is frozen; one that is not yet restored is this process's, and Config.Setup must not wait.

// lock locks the mailbox for a change, which waits while it is frozen.
func (b *Mailbox) lock() { _ = b.lockWithin(context.Background()) }

// lockWithin is lock, until ctx ends.
func (b *Mailbox) lockWithin(ctx context.Context) error {
	for {
		b.mu.Lock()
		if !b.held.Load() || b.n.staged.Load() {
			return nil
		}
		shut, change := b.n.frozen.State()
		b.mu.Unlock()
		if !shut { // it is about to go on
			continue
		}
		if err := wait.For(ctx, change); err != nil { // else it is open, or somebody is to look again
			return err
		}
	}
}

// hold holds the mailbox; what has begun to change it is done.
func (b *Mailbox) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended() { // it is on no table any more, for whoever lets go
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

// deliverHeld deals with a message for a mailbox that is held, or of a Handler that must not begin: in a node that is not yet restored it
// is put behind the others, else it waits until that is over.
func (b *Mailbox) deliverHeld(m *Message, cancel <-chan struct{}) fate {
	shut, change := b.n.frozen.State()
	b.mu.Lock()
	switch {
	case b.ended():
		b.mu.Unlock()
		return refused
	case !b.held.Load() && (b.handler == nil || !b.n.procs.calm.Load()):
		b.mu.Unlock()
		return notYet
	case b.held.Load() && b.n.staged.Load():
		b.pushLocked(m)
		b.mu.Unlock()
		return delivered
	}
	b.mu.Unlock()
	if !shut { // it is about to go on
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

// moveOut ends the mailbox in this process: it goes on in another one, and nobody hears of that but those who use it here.
func (b *Mailbox) moveOut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return
	}
	b.moved = true
	b.held.Store(false)
	b.queue, b.first, b.bytes = nil, 0, 0
	b.links, b.watchers, b.watching, b.downs = nil, nil, nil, nil
	b.nodeTypes, b.nodesUp = 0, nil
	b.n.procs.end(b)
}

// bond takes the token for bonds between processes of this node; who has it gives it back: <-p.bonding.
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
	if err := p.bond(ctx); err != nil { // no link of which one side only is known
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

// unfrozen waits for the end of a freeze. A node that is not yet restored is not meant.
func (n *Node) unfrozen(ctx context.Context) error {
	if n.staged.Load() {
		return nil
	}
	return n.frozen.Pass(ctx)
}

// moveOut ends every process in this one.
func (p *processes) moveOut() {
	p.mu.Lock()
	p.held, p.closed, p.drains = false, true, true
	p.mu.Unlock()
	for _, b := range p.all() {
		b.moveOut()
	}
}
