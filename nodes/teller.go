package nodes

import (
	"context"

	"github.com/cnode-go/cnode/nodes/dist"
)

// A teller sends a signal to the process that it is for.
type teller func(ctl *dist.Control)

// tell is Node.tell for one connection.
func (c *Conn) tell(ctl *dist.Control) {
	if ctl, payload, ok := c.agreed(ctl); ok {
		c.signal(ctl, payload)
	}
}

// tellInTurn returns a tell for a goroutine that may wait: until ctx ends it waits while much else is on its way to the peer.
func (c *Conn) tellInTurn(ctx context.Context) teller {
	return func(ctl *dist.Control) {
		if ctx.Err() != nil {
			c.tell(ctl)
			return
		}
		if err := c.sendSignal(ctx, ctl); err != nil && ctx.Err() != nil && c.Err() == nil { // another failure is the connection's end
			c.tell(ctl)
		}
	}
}

// sendSignal sends a signal in the form that the peer has agreed to, if the peer takes it.
func (c *Conn) sendSignal(ctx context.Context, ctl *dist.Control) error {
	ctl, payload, ok := c.agreed(ctl)
	if !ok { // the end of the connection is to tell, unless that has come already
		return c.Err()
	}
	return c.SendControl(ctx, ctl, payload)
}
