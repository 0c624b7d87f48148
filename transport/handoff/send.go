package handoff

import (
	"context"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// An outgoing is a message that is being sent.
type outgoing struct {
	head, p   []byte
	n         int // bytes that have been sent
	err       error
	once      bool // try once, do not wait
	wait      bool // the peer had no room
	ancillary      // the descriptors
	outSystem
}

// Send sends p as one message together with descriptors, which stay the caller's; they must stay
// open until Send has returned, and on darwin until the peer has received them. On a stream an
// empty p is EINVAL, with descriptors or without. An error on a stream after part of p has been
// sent is transport.ErrPoisoned, for this call and all later ones; with any other error nothing has
// been sent. A packet goes whole or not at all; one that is too long for the socket's send buffer
// is EMSGSIZE. Send waits while the peer has no room. EINVAL for more than MaxDescriptors
// descriptors, EBADF for one that is not open.
func (c *Conn) Send(ctx context.Context, p []byte, fds ...int) error {
	return c.send(ctx, nil, nil, p, fds)
}

// SendTo is Send on a datagram socket to an address; nil is the one that the socket is connected
// to. It waits while the receiver's queue is full, and has the errors of Send: ENOENT or
// ECONNREFUSED if no socket has the address, EINVAL if the address is not that of a UNIX socket,
// EISCONN for an address on a connection.
func (c *Conn) SendTo(ctx context.Context, to transport.Addr, p []byte, fds ...int) error {
	return c.send(ctx, to, nil, p, fds)
}

// TrySend is Send without waiting: it makes one attempt, and EAGAIN, wrapped, says that the peer
// has no room, or that another call is sending. n is how many bytes have been sent: on a stream it
// may be less than len(p), without an error, and the descriptors have been sent with the first
// byte. Sending the rest is up to the caller.
func (c *Conn) TrySend(p []byte, fds ...int) (n int, err error) { return c.tryParts(nil, p, fds) }

// tryParts is TrySend of head and p as one message.
func (c *Conn) tryParts(head, p []byte, fds []int) (n int, err error) {
	if !c.sending.Try() {
		return 0, fault.Failed("send", c.peer, syscall.EAGAIN)
	}
	defer c.sending.Pass()
	if err := c.prepare(nil, head, p, fds); err != nil {
		return 0, fault.Failed("send", c.peer, err)
	}
	o := &c.out
	defer o.forget()
	err = c.lookToSend()
	switch {
	case err != nil:
	case o.err != nil:
		err = o.err
	case o.wait && o.n == 0:
		err = syscall.EAGAIN
	}
	return o.n, fault.Failed("send", c.peer, err)
}

func (c *Conn) send(ctx context.Context, to transport.Addr, head, p []byte, fds []int) error {
	return (*insider)(c).SendParts(ctx, to, head, p, fds)
}

// SendParts sends head and p as one message; to is nil for the address that the socket is
// connected to.
func (in *insider) SendParts(ctx context.Context, to transport.Addr, head, p []byte, fds []int) error {
	c := (*Conn)(in)
	full, err := c.sendOnce(ctx, to, head, p, fds, to != nil || c.looks())
	if full {
		err = c.sendByLooking(ctx, to, head, p, fds)
	}
	return c.notSent(to, err)
}

// sendOnce takes the turn and sends. looks says that the poller cannot tell when there is room:
// then sendOnce does not wait, and full says that there was none.
func (c *Conn) sendOnce(ctx context.Context, to transport.Addr, head, p []byte, fds []int, looks bool) (full bool, err error) {
	if err := ctx.Err(); err != nil { // before the turn is taken: a nil context panics
		return false, err
	}
	if err := c.sending.Take(ctx); err != nil {
		return false, err
	}
	defer c.sending.Pass()
	if err := c.prepare(to, head, p, fds); err != nil {
		return false, err
	}
	o := &c.out
	defer o.forget()
	err = c.lookToSend()
	if err == nil && o.wait && !looks {
		o.once = false
		err = c.outward.wait(ctx)
	}
	if err == nil {
		err = o.err
	}
	if err != nil && o.n > 0 && c.kind == syscall.SOCK_STREAM {
		c.broken = true
		err = fmt.Errorf("%w, after %d of %d bytes: %w", transport.ErrPoisoned, o.n, len(o.head)+len(o.p), err)
	}
	return err == nil && o.wait, err
}

func (c *Conn) notSent(to transport.Addr, err error) error {
	if to == nil {
		to = c.peer
	}
	return fault.Failed("send", to, err)
}

// prepare sets up c.out with the message. It copies fds, so that the caller's slice need not be on
// the heap.
func (c *Conn) prepare(to transport.Addr, head, p []byte, fds []int) error {
	if c.broken {
		return transport.ErrPoisoned
	}
	if err := sendable(fds); err != nil {
		return err
	}
	empty := len(head)+len(p) == 0
	if empty && len(fds) > 0 && !emptyCarries(c.kind) {
		return fmt.Errorf("descriptors without a byte: %w", syscall.EINVAL)
	}
	if empty && len(fds) == 0 && c.kind == syscall.SOCK_STREAM {
		return fmt.Errorf("an empty message on a stream: %w", syscall.EINVAL)
	}
	o := &c.out
	o.head, o.p, o.n, o.err = head, p, 0, nil
	o.put(fds)
	if err := o.address(to); err != nil {
		return err
	}
	if to != nil && c.kind == syscall.SOCK_SEQPACKET { // Linux would ignore the address
		return syscall.EISCONN
	}
	return nil
}

func sendable(fds []int) error {
	if len(fds) > MaxDescriptors {
		return fmt.Errorf("%d descriptors, more than %d: %w", len(fds), MaxDescriptors, syscall.EINVAL)
	}
	for i, fd := range fds {
		if fd < 0 || int64(fd) > math.MaxInt32 { // SCM_RIGHTS has 32 bits for a descriptor
			return fmt.Errorf("descriptor %d at index %d: %w", fd, i, syscall.EBADF)
		}
	}
	return nil
}

// forget drops the references to the caller's memory.
func (o *outgoing) forget() {
	o.head, o.p = nil, nil
	o.clear()
}

// rest returns what has not been sent yet.
func (o *outgoing) rest() (head, p []byte) {
	if o.n < len(o.head) {
		return o.head[o.n:], o.p
	}
	return nil, o.p[o.n-len(o.head):]
}

// trySend sends until everything is sent or there is no room.
func (c *Conn) trySend(fd uintptr) bool {
	o := &c.out
	o.wait = false
	for {
		n, err := o.send(int(fd))
		switch {
		case interrupted(err):
			continue
		case noRoom(err):
			o.wait, o.err = true, nil
			return o.once
		case err != nil:
			o.err = err
			c.resets(err)
			return true
		}
		o.n += n
		if c.kind != syscall.SOCK_STREAM || o.n >= len(o.head)+len(o.p) {
			o.err = nil
			return true
		}
		o.drop() // the descriptors went with the first part
	}
}

// lookToSend tries once, without waiting: o.wait says that there was no room.
func (c *Conn) lookToSend() error {
	c.out.once = true
	return c.look(&c.outward)
}

// sendByLooking sends to a receiver that had no room, when the system does not tell of its room.
// The poller looks only at our own send buffer, not at the receiver's queue: since the buffer has
// room, waiting would become a busy loop, or never end. So sendByLooking tries again after pauses.
// In the pauses other calls may send, since their receivers may have room.
func (c *Conn) sendByLooking(ctx context.Context, to transport.Addr, head, p []byte, fds []int) error {
	pause := patience.Backoff{First: time.Millisecond, Most: 50 * time.Millisecond}
	for {
		if err := pause.Wait(ctx, c.alone.closing(), nil); err != nil {
			return err
		}
		if full, err := c.sendOnce(ctx, to, head, p, fds, true); err != nil || !full {
			return err
		}
	}
}

// looks tells whether the system does not tell of the room of the receiver to which this socket is
// connected.
func (c *Conn) looks() bool { return !tellsRoom && c.kind == syscall.SOCK_DGRAM }
