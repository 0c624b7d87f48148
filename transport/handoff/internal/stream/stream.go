// Package stream reads framed messages and their descriptors from UNIX streams, for the carriers
// below package handoff.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/inside"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
)

// A Stream reads ahead on a stream socket and keeps track of which bytes descriptors came with.
// The system does not tell this exactly: a read may begin with bytes that were sent before, but it
// ends at the latest with the bytes that the descriptors were sent with. So a read holds
// descriptors of one message at most, and they belong to one of its bytes; the framing knows to
// which.
type Stream struct {
	Room  int  // descriptors that one message may have
	Most  int  // descriptors that may be held; 0: any number
	Exact bool // do not read ahead
	First bool // of each message's descriptors, close all but the first

	conn   *handoff.Conn
	buf    []byte
	r, w   int           // buf[r:w] has been read and not used
	offset int64         // of buf[0] in the stream
	held   *arrivals     // nil: there was none yet
	came   handoff.FDSet // in the last read
}

// An arrival is a descriptor that came with one of the bytes from start up to end.
type arrival struct {
	fd         int
	start, end int64
}

// arrivals are those of a Stream. They do not refer to it, and so can be closed when it is
// gone.
type arrivals struct{ list []arrival }

func (a *arrivals) close() (err error) {
	for _, a := range a.list {
		err = errors.Join(err, system.Discard(a.fd))
	}
	a.list = nil
	return err
}

// FirstBuffer is how many bytes a Stream has room for at first.
const FirstBuffer = 4096

// Begin begins with a socket. The fields stay as they are from then on, but for Exact, which may
// change before the first read.
func (b *Stream) Begin(conn *handoff.Conn) {
	b.conn = conn
	inside.Of(conn).Distrust(&b.came)
}

// Position is the place in the stream of the first byte that has not been used.
func (b *Stream) Position() int64 { return b.offset + int64(b.r) }

// Fill reads until there are n bytes. If ctx ends before, nothing is lost. io.EOF is the end before
// the first byte, io.ErrUnexpectedEOF a later end.
func (b *Stream) Fill(ctx context.Context, n int) error {
	for b.w-b.r < n {
		if err := b.More(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// More reads once, so that there may be n bytes.
func (b *Stream) More(ctx context.Context, n int) error {
	b.makeRoom(n)
	p := b.buf[b.w:]
	if b.Exact {
		p = p[:n-(b.w-b.r)]
	}
	k, err := b.receive(ctx, p, b.offset+int64(b.w))
	if b.w += k; err == io.EOF && b.w > b.r {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// receive reads from the socket into p, whose first byte is at place in the stream.
func (b *Stream) receive(ctx context.Context, p []byte, place int64) (int, error) {
	k, err := b.conn.Receive(ctx, p, &b.came, b.Room)
	if err != nil {
		return 0, fault.Cause(err)
	}
	for i := range b.came.Len() {
		fd, err := b.came.Steal(i)
		if err != nil {
			return 0, err
		}
		if b.First && i > 0 { // all descriptors of a read came with one message
			if err := system.Discard(fd); err != nil {
				return 0, err
			}
			continue
		}
		if b.held == nil {
			b.held = new(arrivals)
			runtime.AddCleanup(b, func(a *arrivals) { _ = a.close() }, b.held)
		}
		b.held.list = append(b.held.list, arrival{fd, place, place + int64(k)})
	}
	if n := len(b.arrived()); b.Most > 0 && n > b.Most {
		return k, fault.Malformed("%d descriptors, and what the first came with is not all there", n)
	}
	return k, b.came.Close() // all have been stolen
}

// Read reads into p in the middle of a message: from the buffer, or if that is empty, directly from
// the socket. It closes the descriptors that came with the bytes that it has read.
func (b *Stream) Read(ctx context.Context, p []byte) (n int, err error) {
	if n = copy(p, b.Data()); n > 0 {
		return n, b.Use(n)
	}
	b.offset, b.r, b.w = b.Position(), 0, 0
	if n, err = b.receive(ctx, p, b.offset); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.offset += int64(n)
	return n, errors.Join(err, b.Use(0))
}

// makeRoom makes room for n bytes in the buffer, including those not used yet.
func (b *Stream) makeRoom(n int) {
	if b.r > 0 && (b.r == b.w || len(b.buf)-b.r < n) {
		copy(b.buf, b.buf[b.r:b.w])
		b.offset += int64(b.r)
		b.r, b.w = 0, b.w-b.r
	}
	if len(b.buf) < n {
		b.buf = append(b.buf[:b.w], make([]byte, max(n, FirstBuffer)-b.w)...)
	}
}

// Data returns the bytes that have been read and not used.
func (b *Stream) Data() []byte { return b.buf[b.r:b.w] }

// arrived are the descriptors that came and were not taken, in order.
func (b *Stream) arrived() []arrival {
	if b.held == nil {
		return nil
	}
	return b.held.list
}

// With counts the descriptors that may have come with the byte at a place in the stream.
func (b *Stream) With(place int64) (n int) {
	for _, a := range b.arrived() {
		if a.start <= place && place < a.end {
			n++
		}
	}
	return n
}

// Passed counts the descriptors that came with bytes before a place.
func (b *Stream) Passed(place int64) (n int) {
	for _, a := range b.arrived() {
		if a.end <= place {
			n++
		}
	}
	return n
}

// Take removes and returns the first descriptor that may have come with the byte at a place.
func (b *Stream) Take(place int64) (fd int, ok bool) {
	i := slices.IndexFunc(b.arrived(), func(a arrival) bool { return a.start <= place && place < a.end })
	if i < 0 {
		return -1, false
	}
	fd = b.held.list[i].fd
	b.held.list = slices.Delete(b.held.list, i, i+1)
	return fd, true
}

// Use skips n bytes, and closes the descriptors that came with them and were not taken.
func (b *Stream) Use(n int) (err error) {
	b.r += n
	if b.held == nil {
		return nil
	}
	b.held.list = slices.DeleteFunc(b.held.list, func(a arrival) bool {
		if a.end > b.Position() {
			return false
		}
		err = errors.Join(err, system.Discard(a.fd))
		return true
	})
	return err
}

// Close closes the descriptors that were not taken.
func (b *Stream) Close() (err error) {
	if b.held != nil {
		err = b.held.close()
	}
	return errors.Join(err, b.came.Close())
}

// A Patience bounds how long the rest of a message may take once its beginning is there, over all
// calls that wait for it. The time begins anew if no call has waited for as long as the limit, and
// something has come meanwhile: the socket may have had no room for more.
type Patience struct {
	What  string // that is waited for
	Limit time.Duration
	Began time.Time // when the rest was first waited for; zero: not yet
	Left  time.Time // when the last call of Wait returned
}

// Wait calls read, which waits for one part of the rest, within the limit.
func (p *Patience) Wait(ctx context.Context, read func(context.Context) error) error {
	entered := time.Now()
	if p.Began.IsZero() {
		p.Began, p.Left = entered, entered
	}
	until := p.Began.Add(p.Limit)
	limited, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := read(limited)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		// what has come by now is not late: no call may have looked before
		err = read(transport.NoWait())
	}
	now, away := time.Now(), entered.Sub(p.Left)
	p.Left = now
	if !now.Before(until) {
		if err == nil && away >= p.Limit {
			p.Began = now
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("%w, %v for a %s: %w", handoff.ErrLate, p.Limit, p.What, os.ErrDeadlineExceeded)
		}
	}
	return err
}

// Fill waits until there are n bytes. It calls Wait for each read, since the socket may have had no
// room for the next part.
func (p *Patience) Fill(ctx context.Context, in *Stream, n int) error {
	for len(in.Data()) < n {
		if err := p.Wait(ctx, func(ctx context.Context) error { return in.More(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

// Over ends the time: the message is whole.
func (p *Patience) Over() { p.Began = time.Time{} }

// GaveUp tells whether err says only that a call's context has ended the wait, so that nothing is
// lost.
func GaveUp(ctx context.Context, err error) bool {
	if errors.Is(err, handoff.ErrLate) {
		return false
	}
	return ctx.Err() != nil && errors.Is(err, ctx.Err()) || transport.IsNoWait(ctx) && errors.Is(err, os.ErrDeadlineExceeded)
}
