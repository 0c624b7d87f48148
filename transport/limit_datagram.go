package transport

import "context"

// LimitDatagram is [Limit] over a datagram socket, which is the virtual one's from now on: closing the virtual one closes it. A datagram
// passes whole, as soon as its direction's bucket holds a byte; for the bytes that it takes beyond what is there, the next datagram waits.
// Of one that was cut off, the bytes that were received count.
// Datagrams that wait to be received wait in the socket below, which loses those that it has no room for. Shared is of no effect.
func LimitDatagram(d DatagramSocket, o LimitOptions) *Datagram {
	return overDatagram(d, func(below datagramCarrier, waits *pauser) datagramCarrier {
		c := &limitedDatagram{datagramCarrier: below, pause: waits}
		c.in, c.out = o.buckets()
		return c
	})
}

// A limitedDatagram is the carrier of LimitDatagram.
type limitedDatagram struct {
	datagramCarrier
	pause   *pauser
	in, out *bucket
}

func (c *limitedDatagram) receive(ctx context.Context, d *Datagram, p []byte) (n, size int, from Addr, err error) {
	if _, err := c.in.allow(ctx, c.pause, 1); err != nil {
		return 0, 0, nil, err
	}
	n, size, from, err = c.datagramCarrier.receive(ctx, d, p)
	c.in.take(int64(n))
	return n, size, from, err
}

// next waits as long as receive would.
func (c *limitedDatagram) next(ctx context.Context, d *Datagram) (int, error) {
	if _, err := c.in.allow(ctx, c.pause, 1); err != nil {
		return 0, err
	}
	return c.datagramCarrier.next(ctx, d)
}

func (c *limitedDatagram) send(ctx context.Context, d *Datagram, p []byte, to Addr) error {
	if _, err := c.out.allow(ctx, c.pause, 1); err != nil {
		return err
	}
	err := c.datagramCarrier.send(ctx, d, p, to)
	if err == nil {
		c.out.take(int64(len(p)))
	}
	return err
}
