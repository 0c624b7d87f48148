package handoff

import (
	"context"
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// A Packet is one message of a batch. Receiving changes N, Err, and what P and Set hold, so that
// the same packets can be used again.
type Packet struct {
	P   []byte // to send: the payload; to receive: the buffer, of which the first N bytes are filled
	FDs []int  // to send: they stay the caller's

	Set  *FDSet // to receive: takes the descriptors that come; may be nil with Room 0
	Room int    // to receive: how many may come
	N    int    // received: bytes in P
	// received: why the message is lost, the error that Receive would have returned; nil: it is not
	Err error
}

// SendBatch sends packets as [Conn.Send] does, in order and with no other call's packets between
// them, but many with one system call where the system has such a call (Linux: sendmmsg(2)). It
// waits while the peer has no room, and returns at once if packets is empty. n packets are out,
// whole; if that is not all of them, err says why the next one is not, with the errors of Send. If
// the peer closes in the middle of a batch, the system may have used up its ECONNRESET within that
// batch: then the error is EPIPE or ENOTCONN, and receiving ends with io.EOF in place of
// ECONNRESET. EINVAL on a stream.
func (c *Conn) SendBatch(ctx context.Context, packets []Packet) (n int, err error) {
	if err = c.takesBatches(); err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = c.sending.Join(ctx)
	}
	if err != nil {
		return 0, c.notSent(nil, err)
	}
	defer c.sending.Pass()
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

// sendFirst sends one packet; the caller has the turn. full says that the peer had no room just
// now.
func (c *Conn) sendFirst(ctx context.Context, p *Packet, full bool) (out int, err error) {
	if err := c.prepare(nil, nil, p.P, p.FDs); err != nil {
		return 0, err
	}
	defer c.out.forget()
	err = c.sendWaiting(ctx, c.looks(), full)
	for pause := firstPause; err == nil && c.out.wait; pause = min(2*pause, longestPause) {
		c.outward.stall()
		err = c.pause(ctx, pause)
		c.outward.resume()
		if err == nil {
			err = c.sendWaiting(ctx, true, false)
		}
	}
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// ReceiveBatch waits for a packet and receives it, and those that are already there behind it, as
// [Conn.Receive] does, but many with one system call where the system has such a call (Linux:
// recvmmsg(2), up to 16 packets with room for 256 KiB together; elsewhere one packet at a time). n
// is how many came, at least one if err is nil: N, Err and Set of the first n packets say what came
// in each. A lost packet counts, and the others are received all the same. io.EOF, ECONNRESET and
// other errors of the socket are returned once no packet is left before them. Without
// ReceiveCredentials an empty packet on a connection counts as a packet if others came behind it;
// otherwise it is taken for the end, which is reported only if nothing came before it. EINVAL on a
// stream, for no packets, and for a packet with a Room that Receive does not take; then nothing is
// received.
func (c *Conn) ReceiveBatch(ctx context.Context, packets []Packet) (n int, err error) {
	if err = c.takesBatches(); err == nil {
		err = c.canReceiveAll(packets)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = c.receiving.Join(ctx)
	}
	if err != nil {
		return 0, fault.Failed("receive", c.peer, err)
	}
	defer c.receiving.Pass()
	n, none, err := c.receiveMany(packets)
	if n == 0 && err == nil {
		if err = c.receiveFirst(ctx, &packets[0], none); err == nil {
			// the end of the connection is seen again next time
			n, _, _ = c.receiveMany(packets[1:])
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

// deliver stores what has come in p; err says why the message is lost. It returns an error if the
// end of the connection came in place of a message.
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
