package virtual

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pace"
)

// A faulty is an end of Fault. Each direction has a plan, which the bytes that pass move along.
type faulty struct {
	through
	f               *fault
	side            FaultSide
	conn            int
	remote          transport.Addr
	inward, outward *pace.Pauser
	waits           atomic.Int64 // bytes that were read below and are held back

	breaking sync.Once
	broken   atomic.Pointer[FaultError] // the connection is reset

	in  faultyIn
	out faultyOut
}

// faultyIn belongs to the reader.
type faultyIn struct {
	plan  *plan
	piece piece
	pos   int64 // of the next byte to be given to the reader
	begun bool  // the faults of the piece have happened

	buf    []byte
	held   []byte // the bytes held back
	err    error  // came after them
	due    time.Time
	joinBy time.Time // how long a join waits for more; zero: there is none
}

// faultyOut belongs to the writer.
type faultyOut struct {
	plan  *plan
	piece piece
	pos   int64
	begun bool
	due   time.Time
	vec   [][]byte
}

func (f *fault) faulty(below *transport.Stream, side FaultSide, n int64) *faulty {
	c := &faulty{
		through: through{below}, f: f, side: side, conn: int(n), remote: below.RemoteAddr(),
		inward: pace.NewPauser(), outward: pace.NewPauser(),
	}
	c.in.plan = newPlan(f.chance(forRead, side, n), &f.o.Read, false, f.places(side, c.conn, false))
	c.out.plan = newPlan(f.chance(forWrite, side, n), &f.o.Write, true, f.places(side, c.conn, true))
	return c
}

// places are the faults at certain offsets of one direction of a connection.
func (f *fault) places(side FaultSide, conn int, write bool) (here []FaultAt) {
	for _, a := range f.o.At {
		if a.Write == write && (a.Side == 0 || a.Side == side) && (a.Conn == 0 || a.Conn == conn) && a.Offset >= 0 {
			here = append(here, a)
		}
	}
	return here
}

// tell tells of the faults at the beginning of a piece.
func (c *faulty) tell(p *piece, write bool) {
	for _, e := range p.does {
		c.f.tell(c.full(e, write))
	}
}

func (c *faulty) full(e FaultEvent, write bool) FaultEvent {
	e.Side, e.Conn, e.Write, e.Remote = c.side, c.conn, write, c.remote
	return e
}

// breaks ends the connection below as roughly as it can, and returns the error of every operation
// from now on.
func (c *faulty) breaks(e FaultEvent, errno syscall.Errno) error {
	c.breaking.Do(func() {
		c.broken.Store(c.f.error(e, errno)) // told of before anybody sees it
		c.inward.End()
		c.outward.End()
		_ = c.through.abort() // Close tells of its error
	})
	return c.dead()
}

// dead is nil while the connection is not reset.
func (c *faulty) dead() error {
	if e := c.broken.Load(); e != nil {
		return e
	}
	return nil
}

// cause returns, in place of an error from below, the fault that caused it, if there was one.
func (c *faulty) cause(err error) error {
	if err != nil {
		if dead := c.dead(); dead != nil {
			return dead
		}
	}
	return err
}

func (c *faulty) read(ctx context.Context, p []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.readOn(ctx, p)
	c.waits.Store(int64(len(c.in.held)))
	return n, c.cause(err)
}

func (c *faulty) readOn(ctx context.Context, p []byte) (int, error) {
	r := &c.in
	for {
		if dead := c.dead(); dead != nil {
			return 0, dead
		}
		if len(r.held) > 0 {
			if err := c.settle(ctx); err != nil {
				return 0, err
			}
			n := copy(p, r.held)
			r.held, r.pos = r.held[n:], r.pos+int64(n)
			return n, nil
		}
		if err := r.err; err != nil {
			r.err = nil
			return 0, err
		}
		if r.pos == r.piece.end {
			r.piece, r.begun = r.plan.next(), false
		}
		if r.piece.reset {
			return 0, c.breaks(c.full(r.piece.event(FaultReset), false), syscall.ECONNRESET)
		}
		most := min(int64(len(p)), r.piece.end-r.pos)
		if r.begun || r.piece.hold == 0 && r.piece.join == 0 {
			n, err := c.through.read(ctx, p[:most])
			if n > 0 {
				c.arrived()
				r.pos += int64(n)
			}
			return n, err
		}
		if r.piece.join > 0 {
			most = r.piece.joined - r.pos
		}
		most = min(most, maxJoin)
		r.buf = slices.Grow(r.buf[:0], int(most))
		n, err := c.through.read(ctx, r.buf[:most])
		if n == 0 || wasLost(err) {
			r.forget(err)
			return 0, err
		}
		now := time.Now()
		r.held, r.err, r.due = r.buf[:n:most], err, now.Add(r.piece.hold)
		c.waits.Store(int64(n))
		if r.piece.join > 0 {
			r.joinBy = now.Add(r.piece.join)
		}
		c.arrived()
	}
}

// forget leaves the buffer to the callback, if err says that one was left behind.
func (r *faultyIn) forget(err error) {
	if wasLost(err) {
		r.held, r.buf = slices.Clone(r.held), nil
	}
}

// arrived makes the faults of a piece happen when its first byte has come.
func (c *faulty) arrived() {
	if r := &c.in; !r.begun {
		r.begun = true
		c.tell(&r.piece, false)
	}
}

// settle waits until what is held back may be read.
func (c *faulty) settle(ctx context.Context) error {
	r := &c.in
	single := transport.IsNoWait(ctx)
	for !r.joinBy.IsZero() && !single {
		if len(r.held) == cap(r.held) || r.err != nil || time.Until(r.joinBy) <= 0 {
			break
		}
		wait, cancel := context.WithDeadline(ctx, r.joinBy)
		n, err := c.through.read(wait, r.held[len(r.held):cap(r.held)])
		cancel()
		r.held = r.held[:len(r.held)+n]
		c.waits.Store(int64(len(r.held)))
		switch over := ctx.Err(); {
		case err == nil:
		case over != nil && isOver(err):
			return over
		case isOver(err):
			r.joinBy = time.Time{}
		default:
			r.err = err
			r.forget(err)
		}
	}
	r.joinBy = time.Time{}
	return c.inward.Until(ctx, r.due)
}

func (c *faulty) write(ctx context.Context, v [][]byte) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.writeOn(ctx, v)
	return n, c.cause(err)
}

func (c *faulty) writeOn(ctx context.Context, v [][]byte) (n int64, err error) {
	w := &c.out
	size := length(v)
	for n < size {
		if dead := c.dead(); dead != nil {
			return n, dead
		}
		if w.pos == w.piece.end {
			w.piece, w.begun = w.plan.next(), false
			if w.piece.short && n > 0 {
				return n, nil
			}
		}
		if w.piece.reset {
			return n, c.breaks(c.full(w.piece.event(FaultReset), true), syscall.ECONNRESET)
		}
		if !w.begun {
			w.begun = true
			w.due = time.Now().Add(w.piece.hold)
			c.tell(&w.piece, true)
		}
		if w.pos == w.piece.start {
			if err := c.outward.Until(ctx, w.due); err != nil {
				return n, err
			}
		}
		w.vec = w.vec[:0]
		want := min(size-n, w.piece.end-w.pos)
		w.vec = cut(w.vec, v, n, want)
		k, err := c.through.write(ctx, w.vec)
		if wasLost(err) { // the callback may still look at the vector
			w.vec = nil
			return n + k, err
		}
		clear(w.vec)
		n, w.pos = n+k, w.pos+k
		if err != nil || k < want {
			return n, err
		}
	}
	return n, nil
}

func (c *faulty) pending() (int, error) {
	n, err := c.through.pending()
	return n + int(c.waits.Load()), c.cause(err)
}

// closeWrite lets a write that waits here go on: the stream below says what a write after it gives.
func (c *faulty) closeWrite() error {
	err := c.through.closeWrite()
	if err == nil {
		c.outward.Lift()
	}
	return c.cause(err)
}

func (c *faulty) export() ([]byte, error) { return nil, errPlaceLost() }

func (c *faulty) headerSize() (int, error) {
	n, err := c.through.headerSize()
	return n, c.cause(cmp.Or(err, ofPackets(n)))
}

func (c *faulty) frameHeaderSize() (int, error) {
	n, err := c.through.frameHeaderSize()
	return n, cmp.Or(err, ofPackets(n))
}

// ofPackets refuses a carrier that keeps packets: a plan goes by bytes, and would cut them.
func ofPackets(headerSize int) error {
	if headerSize == 0 {
		return fmt.Errorf("faults over a carrier that keeps packets: %w", errors.ErrUnsupported)
	}
	return nil
}

func (c *faulty) complete(initiated bool) error { return c.cause(c.through.complete(initiated)) }
func (c *faulty) checkPeer(name string) error   { return c.cause(c.through.checkPeer(name)) }
