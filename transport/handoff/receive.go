package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// A wanted is what a caller has room for.
type wanted struct {
	p     []byte
	room  int  // most descriptors that may come
	whole bool // p grows to the packet's size, up to limit
	limit int
}

// An incoming is a message that is being received.
type incoming struct {
	wanted
	n        int
	fds      []int // descriptors that came
	named    bool  // a datagram socket: ask for each message's sender
	from     transport.Addr
	cred     Cred
	hasCred  bool
	err      error
	once     bool
	wait     bool
	arriving ancillary
	inSystem
}

// Receive waits for the next message and reads it into p. Up to room descriptors go into set,
// behind those that it holds; close-on-exec is set, and none is 0, 1 or 2. On a stream Receive
// reads what is there, up to len(p) bytes; io.EOF is the end. On a socket of packets it reads one
// packet; on a connection, an empty packet with nothing beside it looks like the end and is io.EOF
// too, unless ReceiveCredentials is on. The end is ECONNRESET if the peer has closed without
// reading everything; what the peer has sent comes before that. A packet longer than p is
// ErrTruncated, more descriptors than room is ErrDescriptorsLost, ancillary data of another kind
// ErrAncillary; then the message is gone, n says how much of it is in p, its descriptors are
// closed, and set is as it was. With room 0 set may be nil. EINVAL for room beyond MaxDescriptors,
// and for an empty p on a stream: then nothing is read.
func (c *Conn) Receive(ctx context.Context, p []byte, set *FDSet, room int) (n int, err error) {
	p, _, _, err = c.receive(ctx, wanted{p: p, room: room}, set)
	return len(p), err
}

// ReceivePacket waits for the next packet and returns all of it: in p if its capacity is enough,
// else in a new buffer of its size. A packet longer than limit bytes is thrown away and reported as
// ErrTruncated. With ReceiveCredentials cred is the sender's. All else is as for Receive. EINVAL on
// a stream.
func (c *Conn) ReceivePacket(
	ctx context.Context, p []byte, limit int, set *FDSet, room int,
) (packet []byte, from transport.Addr, cred Cred, err error) {
	if c.kind == syscall.SOCK_STREAM {
		return nil, nil, noCred, fault.Failed("receive", c.peer, fmt.Errorf("a stream has no packets: %w", syscall.EINVAL))
	}
	return c.receive(ctx, wanted{p: p, room: room, whole: true, limit: limit}, set)
}

func (c *Conn) receive(ctx context.Context, want wanted, set *FDSet) (p []byte, from transport.Addr, cred Cred, err error) {
	if err = c.canReceive(&want, set); err == nil {
		err = ctx.Err() // before the turn is taken: a nil context panics
	}
	if err == nil {
		err = c.receiving.Take(ctx)
	}
	if err != nil {
		return nil, nil, noCred, fault.Failed("receive", c.peer, err)
	}
	defer c.receiving.Pass()
	i := &c.in
	i.begin(want)
	defer i.forget()
	if err = c.look(&c.inward); err == nil && i.wait { // there was none just now
		i.once = false
		err = c.inward.wait(ctx)
	}
	if err == nil {
		err = i.err
	}
	err = c.received(set, err)
	return i.p[:i.n], i.from, i.cred, err
}

// begin resets i for the next message.
func (i *incoming) begin(want wanted) {
	i.wanted, i.n, i.fds, i.from, i.cred, i.hasCred, i.err = want, 0, i.fds[:0], nil, noCred, false, nil
	i.once, i.wait = true, false
}

// forget drops the references to the caller's memory.
func (i *incoming) forget() {
	i.p = nil
	i.clear()
}

func (c *Conn) canReceive(want *wanted, set *FDSet) error {
	switch {
	case set == nil && want.room > 0 || want.room < 0 || want.room > MaxDescriptors:
		return fmt.Errorf("room for %d descriptors: %w", want.room, syscall.EINVAL)
	case len(want.p) == 0 && !want.whole && c.kind == syscall.SOCK_STREAM:
		return fmt.Errorf("no room for a byte: %w", syscall.EINVAL)
	}
	return nil
}

// received moves the descriptors that came into set, or closes them if err says that the message is
// lost. It also recognises the end.
func (c *Conn) received(set *FDSet, err error) error {
	i := &c.in
	if err != nil {
		if err == syscall.ECONNRESET { // on a stream: at its end, and only once
			c.reset.Store(true)
		}
		if e := closeAll(i.fds, true); e != nil {
			err = errors.Join(err, e)
		}
		return fault.Failed("receive", c.peer, err)
	}
	if len(i.fds) > 0 {
		set.take(i.fds)
	}
	if i.n == 0 && len(i.fds) == 0 && (c.kind == syscall.SOCK_STREAM || c.kind == syscall.SOCK_SEQPACKET && !i.hasCred) {
		i.from, i.cred = nil, noCred
		if c.reset.Load() {
			return fault.Failed("receive", c.peer, syscall.ECONNRESET)
		}
		return io.EOF
	}
	return nil
}

func (c *Conn) tryReceive(fd uintptr) bool {
	i := &c.in
	i.wait = false
	for {
		err := i.receive(int(fd), c.credentials.Load())
		switch {
		case interrupted(err), c.resets(err):
			continue
		case again(err):
			i.wait, i.err = true, nil
			return i.once
		}
		i.err = err
		return true
	}
}

// resets reports whether err is an ECONNRESET behind which packets may still be read. Linux reports
// only once that a peer has closed without reading everything, to the first call, which may be a
// send, and before the packets that the peer has sent. The Conn keeps the error in reset, and
// returns it at the end in place of io.EOF.
func (c *Conn) resets(err error) bool {
	return c.kind == syscall.SOCK_SEQPACKET && err == syscall.ECONNRESET && c.reset.CompareAndSwap(false, true)
}
