package nodes

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

// change is changeNow, but first waits while the connection's queue is full.
func (b *Mailbox) change(ctx context.Context, c *Conn, alter func() (*dist.Control, error)) error {
	if c != nil {
		if err := c.l.AwaitRoom(ctx); err != nil && (ctx.Err() != nil || c.Err() == nil) {
			return err
		}
	}
	return b.changeNow(ctx, c, alter)
}

// changeAlive is change of what only a mailbox that lives can have, over a connection that is up:
// the end of c breaks what there was, and nothing new.
func (b *Mailbox) changeAlive(ctx context.Context, c *Conn, alter func() *dist.Control) error {
	return b.change(ctx, c, func() (*dist.Control, error) {
		switch {
		case b.ended():
			return nil, b.Err()
		case c != nil && c.Err() != nil:
			return nil, c.Err()
		}
		return alter(), nil
	})
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
		if err := b.lockBefore(ctx, life.Ending); err != nil || !c.l.Life().IsFrozen() {
			return err
		}
		b.mu.Unlock()
		if err := c.l.Life().Before(ctx, life.Frozen); err != nil {
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
	return b.n.life.Lock(ctx, both{&b.n.procs.bonding, &b.mu}, life.Ending, b.ended)
}

// both are two locks, the first of which is taken first.
type both [2]*sync.Mutex

func (l both) Lock() {
	l[0].Lock()
	l[1].Lock()
}

func (l both) Unlock() {
	l[1].Unlock()
	l[0].Unlock()
}
