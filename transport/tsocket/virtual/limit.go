package virtual

import (
	"context"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pace"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// LimitOptions say how fast bytes may pass. The zero value does not limit anything.
type LimitOptions struct {
	// Read and Write are bytes per second, of what is received and what is sent. 0 or less, or no
	// number: as fast as it goes.
	Read, Write float64
	// Burst is how many bytes may pass at once after a rest, in each direction. 0 is what passes in
	// a tenth of a second; it is at least 1.
	Burst int
}

// Limit makes a socket that carries so many bytes a second over d, which is the new one's from now
// on: closing the new one closes it. A bucket that fills with time is emptied by what passes, and
// an operation on an empty one waits, until its context ends or the socket is closed. A datagram
// passes whole, as soon as its direction's bucket holds a byte; for the bytes that it takes beyond
// what is there, the next datagram waits. Of one that was cut off, the bytes that were received
// count. Datagrams that wait to be received wait in the socket below, which loses those that it has
// no room for. Time is package time's, so that it works in a testing/synctest bubble.
func Limit(d tsocket.Socket, o LimitOptions) *tsocket.Datagram {
	return over(d, func(below through) tsocket.End {
		return &limited{below, pace.NewBucket(o.Read, o.Burst), pace.NewBucket(o.Write, o.Burst)}
	})
}

// A limited is an end of Limit.
type limited struct {
	through
	in, out *pace.Bucket
}

func (c *limited) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	if _, err := c.in.Allow(ctx, c.waits, 1); err != nil {
		return 0, 0, nil, err
	}
	n, size, from, err = c.through.Receive(ctx, p)
	c.in.Take(int64(n))
	return n, size, from, err
}

// Next waits as long as Receive would.
func (c *limited) Next(ctx context.Context) (int, error) {
	if _, err := c.in.Allow(ctx, c.waits, 1); err != nil {
		return 0, err
	}
	return c.through.Next(ctx)
}

func (c *limited) Send(ctx context.Context, p []byte, to transport.Addr) error {
	if _, err := c.out.Allow(ctx, c.waits, 1); err != nil {
		return err
	}
	err := c.through.Send(ctx, p, to)
	if err == nil {
		c.out.Take(int64(len(p)))
	}
	return err
}
