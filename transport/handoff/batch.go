package handoff

import (
	"context"
	"fmt"
	"syscall"
)

// A Packet is one message of a batch. Receiving changes N, Err, and what P and Set hold, so that the same packets can be used again.
type Packet struct {
	P   []byte // what to send; when receiving, room for what comes, of which the first N bytes are there then
	FDs []int  // to send: they stay the caller's

	Set  *FDSet // to receive: takes the descriptors that come; may be nil with Room 0
	Room int    // to receive: how many may come
	N    int    // received: bytes in P
	Err  error  // received: the message is lost, for a reason that Receive would have given
}

// SendBatch sends packets as [Conn.Send] does, one after the other and nobody else's between them, but many with one system call where there
// is one for that (Linux: sendmmsg(2)). It waits while the peer is full, and returns at once where there are none. n packets are out, whole,
// and if that is not all of them err says why the next one is not: it has the errors of Send. Where the peer goes in the middle of a batch
// the system may have said so already: then the error is EPIPE or ENOTCONN, and what is received afterwards ends with io.EOF, in place of
// ECONNRESET. EINVAL on a stream.
func (c *Conn) SendBatch(ctx context.Context, packets []Packet) (n int, err error) {
	if err = c.takesBatches(); err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = c.sending.take(ctx)
	}
	if err != nil {
		return 0, c.notSent(nil, err)
	}
	defer c.sending.pass()
	for n < len(packets) && err == nil {
		rest := packets[n:]
		var out int
		var full bool
		if out, full, err = c.sendMany(rest); out == 0 && err == nil {
			out, err = c.sendFirst(ctx, &rest[0], full)
		}
		n += out
		if err == nil && n < len(packets) {
			err = ctx.Err()
		}
	}
	return n, c.notSent(nil, err)
}

// sendFirst sends one packet for who has the turn. full says that there was no room just now.
func (c *Conn) sendFirst(ctx context.Context, p *Packet, full bool) (out int, err error) {
	if err := c.prepare(nil, nil, p.P, p.FDs); err != nil {
		return 0, err
	}
	defer c.out.forget()
	if err := c.sendWaiting(ctx, false, full); err != nil {
		return 0, err
	}
	return 1, nil
}

// ReceiveBatch waits for a packet and receives it, and those that are there behind it, as [Conn.Receive] does, but many with one system call
// where there is one for that (Linux: recvmmsg(2), up to 16 packets with room for 256 KiB together; elsewhere one comes at a time). n is how
// many came, at least one if err is nil: N, Err and Set of the first n say of each what came. A packet that is lost counts, and the others
// come all the same. io.EOF, ECONNRESET and other errors of the socket come when no packet is left before them. Without ReceiveCredentials
// an empty packet of a connection is one if others came behind it, else the end, which is told of only if nothing came before it. EINVAL on
// a stream, for no packets, and for one with a Room that Receive does not take; then nothing is received.
func (c *Conn) ReceiveBatch(ctx context.Context, packets []Packet) (n int, err error) {
	if err = c.takesBatches(); err == nil {
		err = c.canReceiveAll(packets)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = c.receiving.take(ctx)
	}
	if err != nil {
		return 0, failed("receive", c.peer, err)
	}
	defer c.receiving.pass()
	n, none, err := c.receiveMany(packets)
	if n == 0 && err == nil {
		if err = c.receiveFirst(ctx, &packets[0], none); err == nil {
			n, _, _ = c.receiveMany(packets[1:]) // what ends the connection is there next time, too
			n++
		}
	}
	return n, err
}

// receiveFirst waits for one packet. none says that there was none just now.
func (c *Conn) receiveFirst(ctx context.Context, p *Packet, none bool) error {
	i := &c.in
	i.begin(wanted{p: p.P, room: p.Room})
	defer i.forget()
	err := c.receiveWaiting(ctx, none)
	if err != nil && !i.settled {
		return c.received(nil, err)
	}
	return c.deliver(p, err)
}

// deliver gives what has come to its packet; err says why it is lost. The error is that of the connection's end, which came instead.
func (c *Conn) deliver(p *Packet, err error) error {
	lost := err != nil
	if err = c.received(p.Set, err); err != nil && !lost {
		return err
	}
	p.N, p.Err = c.in.n, err
	return nil
}

func (c *Conn) canReceiveAll(packets []Packet) error {
	if len(packets) == 0 {
		return fmt.Errorf("no packets: %w", syscall.EINVAL)
	}
	for i := range packets {
		p := &packets[i]
		if err := c.canReceive(&wanted{p: p.P, room: p.Room}, p.Set); err != nil {
			return fmt.Errorf("packet %d: %w", i, err)
		}
	}
	return nil
}

func (c *Conn) takesBatches() error {
	if c.kind == syscall.SOCK_STREAM {
		return fmt.Errorf("a stream has no packets: %w", syscall.EINVAL)
	}
	return nil
}
