package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// change is changeNow that first waits while the connection's queue is full.
func (b *Mailbox) change(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c != nil {
		if err := c.calm(ctx); err != nil && (ctx.Err() != nil || c.Err() == nil) {
			return err
		}
	}
	return b.changeNow(ctx, c, alter)
}

// changeNow changes a link or a monitor and sends the signal that says so, as one step: what the other side says about it comes before or
// after both. c is nil for a process of this node. alter runs with b.mu held; nil says that there is nothing to send.
func (b *Mailbox) changeNow(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c == nil {
		return b.changeHere(ctx, alter)
	}
	if err := b.lockWith(ctx, c); err != nil { // while c is frozen the signal could not go out
		return err
	}
	defer b.mu.Unlock()
	ctl, err := alter()
	if ctl != nil {
		c.tell(ctl)
	}
	return err
}

// lockWith is lockWithin for a change of what the mailbox has with the node of a connection, which waits while that is frozen, too.
func (b *Mailbox) lockWith(ctx context.Context, c *Conn) error {
	for {
		if err := b.lockWithin(ctx); err != nil {
			return err
		}
		shut, change := c.frozen.State()
		if !shut {
			return nil
		}
		b.mu.Unlock()
		if err := wait.For(ctx, change); err != nil {
			return err
		}
	}
}

// changeHere changes what the mailbox has with another process of this node, and tells that one, as one step. What alter gives does not
// run a Handler there; that nobody is there is said afterwards.
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
	<-n.procs.bonding
	switch {
	case !there:
		n.noproc(ctl)
	case ctl != nil && ctl.Op == dist.OpLink && b.ended(): // before the other one knew of the link
		sendExit(n.tell, b.pid, ctl.To, exitReason(b.why))
	}
	return err
}

// lockBoth takes the token for a change of what two processes of this node have with each other, and locks the mailbox, once they are not
// held: all are, or none. It does not wait with the token, which who freezes the node needs.
func (b *Mailbox) lockBoth(ctx context.Context) error {
	p := &b.n.procs
	for {
		if err := p.bond(ctx); err != nil {
			return err
		}
		b.mu.Lock()
		if !b.held.Load() || b.n.staged.Load() {
			return nil
		}
		shut, change := b.n.frozen.State()
		b.mu.Unlock()
		<-p.bonding
		if !shut { // it is about to go on
			continue
		}
		if err := wait.For(ctx, change); err != nil { // else it is open, or somebody is to look again
			return err
		}
	}
}
