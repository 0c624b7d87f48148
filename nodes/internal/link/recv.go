package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// ErrStopped: the connection is being frozen. Whoever has the reader's turn is to give it away
// until reading goes on.
var ErrStopped = errors.New("the reader stops")

// Turn takes a token: whoever has sent it is the reader, until GiveTurn.
func (c *Conn) Turn() chan<- struct{} { return c.rd.turn }

// GiveTurn gives the reader's turn back.
func (c *Conn) GiveTurn() { <-c.rd.turn }

// LendTurn gives the reader's turn to whoever freezes the connection, and takes it again when
// reading goes on.
func (c *Conn) LendTurn() {
	<-c.rd.turn
	_ = c.life.Pass(context.Background())
	c.rd.turn <- struct{}{}
}

// Receive reads frames until one is a message, answers ticks meanwhile, and waits until ctx or the
// connection ends, or the reader is to stop: ErrStopped. The caller has the reader's turn, and
// Resolves the message, or releases it, before the next one. dist.ErrUnknownOp is of one message;
// another fault in what the peer sends ends the connection.
func (c *Conn) Receive(ctx context.Context, in In) error {
	m := in.Memory
	c.reading.Store(true)
	defer c.reading.Store(false)
	for {
		r := &c.rd
		r.m, r.stage = m, frameStart
		n, err := c.s.ReadPDU(ctx, r.next)
		if err == nil && r.first != nil {
			err = r.takePacket(int(n))
			n += int64(len(r.head)) // as if it had a length, for a tick is no byte
		}
		if err != nil {
			if errors.Is(err, transport.ErrPaused) && c.Err() == nil {
				return ErrStopped
			}
			return c.receiveError(ctx, err)
		}
		c.received.Add(n)
		c.unpaired.Store(false)
		if r.need == 0 {
			c.ticks.answerTick(c)
			continue
		}
		if r.dist == nil {
			r.dist = r.newReader(c.frameFlags())
		}
		a, err := r.readFrame(in)
		if err == nil {
			err = c.countIncomplete()
		}
		if err != nil {
			return c.unreadable(err)
		}
		c.s.ExpectMore(!a.Complete)
		if !a.Complete {
			r.came()
			continue
		}
		*in.Payload, m.arrival = a.Payload, nil
		if a.Memory != nil {
			m.whole = a.Memory
		}
		if len(a.Refs) > 0 {
			r.arrival = a
			m.arrival = &r.arrival
		}
		in.plain()
		c.countReceived(*in.Payload, n)
		r.came()
		return nil
	}
}

// Resolve puts atoms in the place of a message's references to the peer's cache of atoms. The
// message may then take 500 times the memory, so do not call it for a message that nobody is to
// get. The caller has just received it. A term beyond Config.MaxFrame ends the connection.
func (c *Conn) Resolve(in In) error {
	if in.Memory.arrival == nil {
		return nil
	}
	if err := in.resolve(c.rd.max); err != nil {
		return c.unreadable(err)
	}
	return nil
}

// unreadable returns the error over which a frame cannot be read, and ends the connection, unless
// the next frame can.
func (c *Conn) unreadable(err error) error {
	if errors.Is(err, protocol.ErrMessageTooLong) || errors.Is(err, ei.ErrLimit) {
		err = fmt.Errorf("%w: Config.MaxFrame is %d: %w", ErrFrameTooLong, c.rd.max, err)
	}
	if !errors.Is(err, dist.ErrUnknownOp) {
		c.Breach(err)
	}
	return err
}

// countIncomplete counts the memory that incomplete messages take in Env.Incomplete, of which each
// peer has its share.
func (c *Conn) countIncomplete() error {
	r := &c.rd
	more := r.dist.Held() - r.held
	switch {
	case more == 0:
	case more < 0:
		c.env.Incomplete.Give(c.peer.Name, -more)
	case r.dist.Open() <= 1: // a message of any size gets through by itself
		c.env.Incomplete.Force(c.peer.Name, more)
	case c.env.Incomplete.Take(c.peer.Name, more) != nil:
		return fmt.Errorf("%w: %d bytes, and this peer's share of Config.OverflowLimit is used up",
			dist.ErrTooMuchIncomplete, r.dist.Held())
	}
	r.held += more
	return nil
}

// receiveError ends the connection after a failed read, unless it has ended already.
func (c *Conn) receiveError(ctx context.Context, err error) error {
	err, broken := c.reason(ctx, err)
	if !broken {
		return err
	}
	// "node down" tells of an end; a peer that ends with something unread resets the connection
	if !Orderly(err) && !errors.Is(err, syscall.ECONNRESET) {
		c.env.Log.Warn("receiving failed", "peer", c.peer.Name, "error", err)
	}
	return c.Fail(err)
}

// Orderly reports whether a connection was ended, by either side, and has not failed. A node that
// speaks TLS may end without an alert.
func Orderly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrClosed)
}

// reason finds the reason behind a failed read or write: ctx, or the end of the connection. If
// broken, err itself is to end the connection.
func (c *Conn) reason(ctx context.Context, err error) (_ error, broken bool) {
	if ended := c.Err(); ended != nil {
		return ended, false
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err(), false
	}
	if transport.IsNoWait(ctx) && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, transport.ErrPoisoned) {
		return os.ErrDeadlineExceeded, false
	}
	switch ends := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
	case ends && c.leaves.Load():
		c.parted.Store(true)
		err = ErrClosed
	case errors.Is(err, net.ErrClosed):
		err = ErrClosed
	}
	return err, true
}

// A passing is the wait of a connection's reader for what it needs to pass messages on. It ends
// when the reader is to stop, or with the connection.
type passing struct {
	ctx context.Context
	end context.CancelFunc
}

// Pass is the context for what the reader waits for to pass a message on. It ends when the reader
// is to stop, or with the connection. Only the reader calls it.
func (c *Conn) Pass() context.Context {
	p := c.rd.passing.Load()
	if p == nil || p.ctx.Err() != nil {
		p = new(passing)
		p.ctx, p.end = context.WithCancel(c.env.Ctx)
		c.rd.passing.Store(p)
		if !c.life.IsOpen() || c.Err() != nil { // endPassing may have come before the Store
			p.end()
		}
	}
	return p.ctx
}

// Passed turns the error that a wait with Pass has ended with into the reader's: ErrStopped, if it
// is to stop.
func (c *Conn) Passed(err error) error {
	if errors.Is(err, context.Canceled) && c.Err() == nil && c.env.Ctx.Err() == nil {
		return ErrStopped
	}
	return err
}

func (c *Conn) endPassing() {
	if p := c.rd.passing.Load(); p != nil {
		p.end()
	}
}
