package handoff

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
)

// A byteStream reads ahead on a stream socket and keeps track of which bytes descriptors came with.
// The system does not tell this exactly: a read may begin with bytes that were sent before, but it
// ends at the latest with the bytes that the descriptors were sent with. So a read holds
// descriptors of one message at most, and they belong to one of its bytes; the framing knows to
// which.
type byteStream struct {
	conn   *Conn
	room   int  // descriptors that one message may have
	most   int  // descriptors that may be held; 0: any number
	exact  bool // do not read ahead
	first  bool // of each message's descriptors, close all but the first
	buf    []byte
	r, w   int       // buf[r:w] has been read and not used
	offset int64     // of buf[0] in the stream
	held   *arrivals // nil: there was none yet
	came   FDSet     // in the last read
}

// An arrival is a descriptor that came with one of the bytes from start up to end.
type arrival struct {
	fd         int
	start, end int64
}

// arrivals are those of a byteStream. They do not refer to it, and so can be closed when it is
// gone.
type arrivals struct{ list []arrival }

func (a *arrivals) close() (err error) {
	for _, a := range a.list {
		err = errors.Join(err, discard(a.fd))
	}
	a.list = nil
	return err
}

const firstBuffer = 4096

func (b *byteStream) position() int64 { return b.offset + int64(b.r) }

// fill reads until there are n bytes. If ctx ends before, nothing is lost. io.EOF is the end before
// the first byte, io.ErrUnexpectedEOF a later end.
func (b *byteStream) fill(ctx context.Context, n int) error {
	for b.w-b.r < n {
		if err := b.more(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// more reads once, so that there may be n bytes.
func (b *byteStream) more(ctx context.Context, n int) error {
	b.makeRoom(n)
	p := b.buf[b.w:]
	if b.exact {
		p = p[:n-(b.w-b.r)]
	}
	k, err := b.receive(ctx, p, b.offset+int64(b.w))
	if b.w += k; err == io.EOF && b.w > b.r {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// receive reads from the socket into p, whose first byte is at place in the stream.
func (b *byteStream) receive(ctx context.Context, p []byte, place int64) (int, error) {
	k, err := b.conn.Receive(ctx, p, &b.came, b.room)
	if err != nil {
		return 0, unwrapOp(err)
	}
	for i := range b.came.Len() {
		fd, err := b.came.Steal(i)
		if err != nil {
			return 0, err
		}
		if b.first && i > 0 { // all descriptors of a read came with one message
			if err := discard(fd); err != nil {
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
	if n := len(b.arrived()); b.most > 0 && n > b.most {
		return k, malformed("%d descriptors, and what the first came with is not all there", n)
	}
	return k, b.came.Close() // all have been stolen
}

// read reads into p in the middle of a message: from the buffer, or if that is empty, directly from
// the socket. It closes the descriptors that came with the bytes that it has read.
func (b *byteStream) read(ctx context.Context, p []byte) (n int, err error) {
	if n = copy(p, b.data()); n > 0 {
		return n, b.use(n)
	}
	b.offset, b.r, b.w = b.position(), 0, 0
	if n, err = b.receive(ctx, p, b.offset); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.offset += int64(n)
	return n, errors.Join(err, b.use(0))
}

// makeRoom makes room for n bytes in the buffer, including those not used yet.
func (b *byteStream) makeRoom(n int) {
	if b.r > 0 && (b.r == b.w || len(b.buf)-b.r < n) {
		copy(b.buf, b.buf[b.r:b.w])
		b.offset += int64(b.r)
		b.r, b.w = 0, b.w-b.r
	}
	if len(b.buf) < n {
		b.buf = append(b.buf[:b.w], make([]byte, max(n, firstBuffer)-b.w)...)
	}
}

// data returns the bytes that have been read and not used.
func (b *byteStream) data() []byte { return b.buf[b.r:b.w] }

// arrived are the descriptors that came and were not taken, in order.
func (b *byteStream) arrived() []arrival {
	if b.held == nil {
		return nil
	}
	return b.held.list
}

// with counts the descriptors that may have come with the byte at a place in the stream.
func (b *byteStream) with(place int64) (n int) {
	for _, a := range b.arrived() {
		if a.start <= place && place < a.end {
			n++
		}
	}
	return n
}

// passed counts the descriptors that came with bytes before a place.
func (b *byteStream) passed(place int64) (n int) {
	for _, a := range b.arrived() {
		if a.end <= place {
			n++
		}
	}
	return n
}

// take removes and returns the first descriptor that may have come with the byte at a place.
func (b *byteStream) take(place int64) (fd int, ok bool) {
	i := slices.IndexFunc(b.arrived(), func(a arrival) bool { return a.start <= place && place < a.end })
	if i < 0 {
		return stolen, false
	}
	fd = b.held.list[i].fd
	b.held.list = slices.Delete(b.held.list, i, i+1)
	return fd, true
}

// use skips n bytes, and closes the descriptors that came with them and were not taken.
func (b *byteStream) use(n int) (err error) {
	b.r += n
	if b.held == nil {
		return nil
	}
	b.held.list = slices.DeleteFunc(b.held.list, func(a arrival) bool {
		if a.end > b.position() {
			return false
		}
		err = errors.Join(err, discard(a.fd))
		return true
	})
	return err
}

// close closes the descriptors that were not taken.
func (b *byteStream) close() (err error) {
	if b.held != nil {
		err = b.held.close()
	}
	return errors.Join(err, b.came.Close())
}

// A patience bounds how long the rest of a message may take once its beginning is there, over all
// calls that wait for it. The time begins anew if no call has waited for as long as the limit, and
// something has come meanwhile: the socket may have had no room for more.
type patience struct {
	what  string
	limit time.Duration
	began time.Time // when the rest was first waited for; zero: not yet
	left  time.Time // when the last call of wait returned
}

// wait calls read, which waits for one part of the rest, within the limit.
func (p *patience) wait(ctx context.Context, read func(context.Context) error) error {
	entered := time.Now()
	if p.began.IsZero() {
		p.began, p.left = entered, entered
	}
	until := p.began.Add(p.limit)
	limited, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := read(limited)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		// what has come by now is not late: no call may have looked before
		err = read(transport.NoWait())
	}
	now, away := time.Now(), entered.Sub(p.left)
	p.left = now
	if !now.Before(until) {
		if err == nil && away >= p.limit {
			p.began = now
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("%w, %v for a %s: %w", ErrLate, p.limit, p.what, os.ErrDeadlineExceeded)
		}
	}
	return err
}

// fill waits until there are n bytes. It calls wait for each read, since the socket may have had no
// room for the next part.
func (p *patience) fill(ctx context.Context, in *byteStream, n int) error {
	for len(in.data()) < n {
		if err := p.wait(ctx, func(ctx context.Context) error { return in.more(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

// over ends the time: the message is whole.
func (p *patience) over() { p.began = time.Time{} }

// gaveUp tells whether err says only that a call's context has ended the wait, so that nothing is
// lost.
func gaveUp(ctx context.Context, err error) bool {
	if errors.Is(err, ErrLate) {
		return false
	}
	return ctx.Err() != nil && errors.Is(err, ctx.Err()) || transport.IsNoWait(ctx) && errors.Is(err, os.ErrDeadlineExceeded)
}

// malformed makes the error for a message that does not follow a carrier's format.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
