package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// Receive returns the next message. It waits until one has come, or until ctx or the connection
// ends; in the latter case the error is Err's. Meanwhile ticks are answered and UNLINK_ID is
// acknowledged. The error is ErrBusy if another Receive is in progress, or the node was started. An
// unknown control message is an error (dist.ErrUnknownOp) after which Receive may be called again;
// a malformed one ends the connection. It is ei_xreceive_msg.
func (c *Conn) Receive(ctx context.Context) (*Message, error) {
	m := new(Message)
	if err := c.ReceiveInto(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

// ReceiveInto is Receive into a message that is reused, with its buffer: what m held before is
// lost, even if there is an error. Nothing is allocated once the buffer is large enough. It waits
// as Receive does, and has its errors: ErrBusy during another Receive, or once the node was
// started; dist.ErrUnknownOp, after which it may be called again.
func (c *Conn) ReceiveInto(ctx context.Context, m *Message) error {
	if c.n.started.Load() || !c.receiving.CompareAndSwap(false, true) {
		return wrap("receive from", c.Name(), ErrBusy)
	}
	defer c.receiving.Store(false)
	for {
		select {
		case c.l.Turn() <- struct{}{}:
		default: // a Call reads, until its next message
			select {
			case c.l.Turn() <- struct{}{}:
			case <-wait.Cancelled(ctx):
				return wrap("receive from", c.Name(), wait.Err(ctx))
			}
		}
		err := c.receiveUnread(ctx, m)
		if err == link.ErrStopped {
			if err = c.l.Life().Pass(ctx); err == nil {
				continue
			}
		}
		return wrap("receive from", c.Name(), err)
	}
}

// receiveUnread is ReceiveInto for a caller that has the reader's turn, which it gives back.
func (c *Conn) receiveUnread(ctx context.Context, m *Message) error {
	defer c.l.GiveTurn()
	if c.unread.len() > 0 {
		*m = *c.unread.take()
		c.acknowledgeUnlink(m)
		return nil
	}
	if c.yields.Swap(false) {
		c.l.Stream().Yield()
	}
	for {
		if err := c.receive(ctx, m); err != nil {
			return err
		}
		if (c.calls.Load() == 0 || !c.n.isLocal(m)) && !c.n.answersCall(m) {
			c.acknowledgeUnlink(m)
			return nil
		}
		own := *m // a Call keeps it, or has given up waiting for it
		*m = Message{}
		c.n.route(c, &own)
		c.l.Stream().Yield()
	}
}

// Yield is for a program that passes what Receive returns to other goroutines, and receives again:
// the next Receive that has to wait first lets the goroutines run that have just been woken.
// Otherwise it may keep the processor from them for as long as it naps (see
// transport.WithPolling).
func (c *Conn) Yield() { c.yields.Store(true) }

// acknowledgeUnlink acknowledges an UNLINK_ID before Receive returns it: the caller of Receive
// might not.
func (c *Conn) acknowledgeUnlink(m *Message) {
	if m.Op == dist.OpUnlinkID {
		c.acknowledge(&m.Control)
	}
}
