package virtual

import (
	"context"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// LimitDatagram is [Limit] over a datagram socket, which is the virtual one's from now on: closing
// the virtual one closes it. A datagram passes whole, as soon as its direction's bucket holds a
// byte; for the bytes that it takes beyond what is there, the next datagram waits. Of one that was
// cut off, the bytes that were received count. Datagrams that wait to be received wait in the
// socket below, which loses those that it has no room for. Shared is of no effect.
func LimitDatagram(d tsocket.Socket, o LimitOptions) *tsocket.Datagram {
	return overDatagram(d, func(below datagramThrough) tsocket.End {
		c := &limitedDatagram{datagramThrough: below}
		c.in, c.out = o.buckets()
		return c
	})
}

// A limitedDatagram is an end of LimitDatagram.
type limitedDatagram struct {
	datagramThrough
	in, out *bucket
}

func (c *limitedDatagram) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	if _, err := c.in.allow(ctx, c.waits, 1); err != nil {
		return 0, 0, nil, err
	}
	n, size, from, err = c.datagramThrough.Receive(ctx, p)
	c.in.take(int64(n))
	return n, size, from, err
}

// Next waits as long as Receive would.
func (c *limitedDatagram) Next(ctx context.Context) (int, error) {
	if _, err := c.in.allow(ctx, c.waits, 1); err != nil {
		return 0, err
	}
	return c.datagramThrough.Next(ctx)
}

func (c *limitedDatagram) Send(ctx context.Context, p []byte, to transport.Addr) error {
	if _, err := c.out.allow(ctx, c.waits, 1); err != nil {
		return err
	}
	err := c.datagramThrough.Send(ctx, p, to)
	if err == nil {
		c.out.take(int64(len(p)))
	}
	return err
}
