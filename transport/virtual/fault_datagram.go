package virtual

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// FaultDatagram is [Fault] over a datagram socket, which is the virtual one's from now on: closing
// the virtual one closes it. Faults are drawn for every datagram: Faults.Piece is of no effect, and
// an offset is a number of datagrams, from 0, in its direction.
//
//   - FaultDelay and FaultStall hold back a datagram that has come, or the SendTo of one, and the
//     datagrams behind it.
//   - FaultCorrupt changes one byte of a datagram.
//   - FaultRefuse makes a SendTo or a RecvFrom fail once with ECONNREFUSED, as the system does for
//     an earlier datagram that nobody has taken: nothing is sent or lost, and the socket goes on.
//
// FaultSplit, FaultJoin, FaultShortWrite, FaultReset, FaultAbort and FaultExhaust are those of
// streams and listeners, and EINVAL; so is a FaultAt with a Side, or a Conn beyond 1. Nothing is
// lost, duplicated or put in another order. Events have the side FaultBoth.
func FaultDatagram(d tsocket.Socket, o FaultOptions) (*tsocket.Datagram, error) {
	if err := o.only("a datagram socket", FaultBoth, FaultDelay, FaultStall, FaultCorrupt, FaultRefuse); err != nil {
		return nil, &transport.OpError{Op: "fault", Addr: d.LocalAddr(), Err: err}
	}
	f := newFault(o)
	return overDatagram(d, func(below datagramThrough) tsocket.End {
		c := &faultyDatagram{datagramThrough: below, f: f, remote: d.RemoteAddr()}
		c.in.plan = f.datagramPlan(forRead, &f.o.Read, false)
		c.out.plan = f.datagramPlan(forWrite, &f.o.Write, true)
		return c
	}), nil
}

func (f *fault) datagramPlan(purpose int, of *Faults, write bool) *plan {
	of.Piece = 1
	p := &plan{rng: f.chance(purpose, FaultBoth, 1), f: of, draws: append(of.draws(), draw{FaultRefuse, f.o.Refuse, 0}), write: write,
		datagrams: true}
	return p.begin(f.places(FaultBoth, 1, write))
}

// A faultyDatagram is an end of FaultDatagram.
type faultyDatagram struct {
	datagramThrough
	f       *fault
	remote  transport.Addr
	in, out course

	// Owned by the receiver.
	buf  []byte
	held *heldDatagram
}

// A heldDatagram has come, and is held back.
type heldDatagram struct {
	p    []byte
	size int
	from transport.Addr
	due  time.Time
}

// heldSize is how long a datagram that is held back may be, unless its receiver's buffer is longer.
const heldSize = 64 << 10

// A course is where a direction is in its plan.
type course struct {
	plan    *plan
	piece   piece
	pos     int64 // of the next datagram
	refused bool  // that datagram has been refused
	begun   bool  // its sending has begun, and due is when it goes out
	due     time.Time
}

// here is the piece that begins with the next datagram; nil: none does.
func (w *course) here() *piece {
	if w.pos == w.piece.end {
		w.piece, w.refused, w.begun = w.plan.next(), false, false
	}
	if w.pos != w.piece.start {
		return nil
	}
	return &w.piece
}

// refuses is the error of a datagram that is to be refused, and has not been yet; else nil.
func (c *faultyDatagram) refuses(w *course, write bool, peer transport.Addr) error {
	if !w.piece.refuse || w.refused {
		return nil
	}
	w.refused = true
	return c.f.error(c.full(w.piece.event(FaultRefuse), write, peer), syscall.ECONNREFUSED)
}

// tell tells of the other faults of a datagram.
func (c *faultyDatagram) tell(w *course, write bool, peer transport.Addr) {
	for _, e := range w.piece.does {
		if e.Kind != FaultRefuse {
			c.f.tell(c.full(e, write, peer))
		}
	}
}

func (c *faultyDatagram) full(e FaultEvent, write bool, peer transport.Addr) FaultEvent {
	if peer == nil {
		peer = c.remote
	}
	e.Conn, e.Write, e.Remote = 1, write, peer
	return e
}

// corrupt changes a byte of the next datagram.
func (c *faultyDatagram) corrupt(w *course, p []byte) {
	p[scatter(c.f.o.Seed^uint64(w.pos))%uint64(len(p))] ^= w.piece.mask
}

func (c *faultyDatagram) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, nil, err
	}
	if c.held != nil {
		return c.settle(ctx, p)
	}
	w := &c.in
	begins := w.here()
	if begins == nil {
		n, size, from, err = c.datagramThrough.Receive(ctx, p)
		if err == nil && n > 0 {
			w.pos++
		}
		return n, size, from, err
	}
	if err := c.refuses(w, false, nil); err != nil {
		return 0, 0, nil, err
	}
	if begins.hold > 0 {
		if err := c.hold(ctx, len(p), begins.hold); err != nil || c.held == nil {
			return 0, 0, nil, err
		}
		return c.settle(ctx, p)
	}
	return c.take(ctx, p)
}

// take receives a datagram, with its faults, into p.
func (c *faultyDatagram) take(ctx context.Context, p []byte) (
	n, size int, from transport.Addr, err error,
) {
	n, size, from, err = c.datagramThrough.Receive(ctx, p)
	if err == nil && n > 0 {
		c.corrupt(&c.in, p[:n])
		c.tell(&c.in, false, from)
		c.in.pos++
	}
	return n, size, from, err
}

// hold receives a datagram that is to be held back, of which room bytes at least are kept. An empty
// one is not held.
func (c *faultyDatagram) hold(
	ctx context.Context, room int, delay time.Duration,
) error {
	if len(c.buf) < max(heldSize, room) {
		c.buf = make([]byte, max(heldSize, room))
	}
	n, size, from, err := c.take(ctx, c.buf)
	if err != nil || n == 0 {
		return err
	}
	if size > n {
		size = tsocket.UnknownSize // a longer buffer does not get the rest either
	}
	c.held = &heldDatagram{c.buf[:n], size, from, time.Now().Add(delay)}
	return nil
}

// Next takes a datagram that is to be held back, and waits until it may be received.
func (c *faultyDatagram) Next(ctx context.Context) (size int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if c.held == nil {
		begins := c.in.here()
		if begins != nil {
			if err := c.refuses(&c.in, false, nil); err != nil {
				return 0, err
			}
		}
		size, err := c.datagramThrough.Next(ctx)
		if err != nil || begins == nil || begins.hold == 0 {
			return size, err
		}
		if err := c.hold(ctx, size, begins.hold); err != nil || c.held == nil {
			return 0, err
		}
	}
	return len(c.held.p), c.waits.until(ctx, c.held.due)
}

// settle waits until the datagram that is held back may be received.
func (c *faultyDatagram) settle(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	h := c.held
	if err := c.waits.until(ctx, h.due); err != nil {
		return 0, 0, nil, err
	}
	c.held = nil
	return copy(p, h.p), h.size, h.from, nil
}

func (c *faultyDatagram) Send(ctx context.Context, p []byte, to transport.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &c.out
	if begins := w.here(); begins != nil {
		if err := c.refuses(w, true, to); err != nil {
			return err
		}
		if !w.begun {
			w.begun = true
			w.due = time.Now().Add(begins.hold)
			c.tell(w, true, to)
		}
		if err := c.waits.until(ctx, w.due); err != nil {
			return err
		}
		if begins.mask != 0 {
			p = slices.Clone(p)
			c.corrupt(w, p)
		}
	}
	err := c.datagramThrough.Send(ctx, p, to)
	if err == nil {
		w.pos++
	}
	return err
}
