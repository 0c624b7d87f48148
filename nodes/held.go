package nodes

import (
	"context"
)

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

// moveOut ends the mailbox in this process, since it goes on in another one. Only goroutines that
// use it here notice: no signal is sent.
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

// moveOut ends every mailbox in this process, as Mailbox.moveOut does.
func (p *processes) moveOut() {
	p.mu.Lock()
	p.held, p.closed, p.drains = false, true, true
	p.mu.Unlock()
	for _, b := range p.all() {
		b.moveOut()
	}
}
