package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A Queue runs calls one after another, in the order in which they came, each on its caller's
// goroutine. It is one for as many sockets as you use it with: a call on one of them waits for
// those before it on the others. So writers of a stream share one, and readers of a stream
// another; what a stream or datagram socket does outside of the queue may be ErrBusy. The methods
// are safe for concurrent use, and the zero value is ready. It is the tevent_queue of the tsocket
// guide, "Async 'tevent_queue' based helper functions".
type Queue struct{ turns patience.Turns }

// errNextPanicked is the error of later calls after a next that has left by a panic or
// runtime.Goexit.
var errNextPanicked = errors.New("the next function of an earlier packet did not return")

// Do runs call in its turn, and returns its error. When ctx ends before, call is not run, and the
// error is ctx's; under NoWait it is os.ErrDeadlineExceeded where another call has the turn. call
// must not use the queue.
func (q *Queue) Do(ctx context.Context, call func() error) error {
	if err := q.take(ctx); err != nil {
		return err
	}
	defer q.turns.Pass()
	return call()
}

func (q *Queue) take(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return err
	}
	return q.turns.Take(ctx)
}

// ReadPDU is that of the stream in the caller's turn: each caller gets a packet of its own, whole,
// or its own error. next is called in that turn only. A caller whose ctx ends takes no byte, even
// in the middle of its packet: the next in line gets that packet. But when next fails inside a
// packet, or panics, nobody can tell where the following packet begins, and all later calls for
// the stream fail; so they do once the stream has ended inside a packet. Closing the stream ends
// the call that has its turn, and those for the stream behind it, with net.ErrClosed. See
// tstream_readv_pdu_queue_send.
func (q *Queue) ReadPDU(ctx context.Context, s *Stream, next func() ([][]byte, error)) (int64, error) {
	if err := q.take(ctx); err != nil {
		return 0, opError("read", s.remote, err)
	}
	defer q.turns.Pass()
	return s.readInTurn(ctx, next)
}

// readInTurn is ReadPDU, unless an earlier call has lost the beginning of the next packet.
func (s *Stream) readInTurn(ctx context.Context, next func() ([][]byte, error)) (int64, error) {
	if err := s.beginReadOf(ctx); err != nil {
		return 0, opError("read", s.remote, err)
	}
	defer s.endRead()
	if s.lost != nil {
		return 0, opError("read", s.remote, s.lost)
	}
	s.lost = errNextPanicked
	n, err := s.readPDU(ctx, next)
	s.lost = nil
	if err != nil && n > 0 {
		s.lost = fmt.Errorf("an earlier packet was left half-way: %w", err)
	}
	return n, err
}

// Writev writes the buffers to the stream, in the caller's turn, and returns when all of them have
// been delivered to the socket, with their length in bytes, or with the reason why they were not.
// When ctx ends before a byte is out nothing of them is sent: the count is 0 with ctx's error, and
// no other call is harmed. When it ends later they go out all the same, whole, and the count is
// their length beside ctx's error; the turn is passed on once they are out. With a FullImpl plug-in
// that is not Direct they go out whole as soon as their turn has come. The buffers are the caller's
// again when Writev returns. No byte to write is EINVAL, except where the carrier
// keeps packets. See tstream_writev_queue_send.
func (q *Queue) Writev(ctx context.Context, s *Stream, v ...[]byte) (int64, error) {
	if length(v) == 0 && !s.KeepsPackets() {
		return 0, opError("write", s.remote, errEmpty)
	}
	if err := q.take(ctx); err != nil {
		return 0, opError("write", s.remote, err)
	}
	n, err := s.writeInTurn(ctx, &q.turns, v)
	return n, opError("write", s.remote, err)
}

// writeInTurn writes v, and passes the turn on when the direction is free again.
func (s *Stream) writeInTurn(ctx context.Context, turns *patience.Turns, v [][]byte) (n int64, err error) {
	behind := false // another goroutine goes on with it
	defer func() {
		if !behind {
			turns.Pass()
		}
	}()
	if err := s.beginWrite(); err != nil {
		return 0, err
	}
	defer func() {
		if !behind {
			s.endWrite()
		}
	}()
	if s.car.takesItsTime() && ctx.Done() != nil {
		behind = true
		return s.writeBehind(ctx, turns, slices.Concat(v...))
	}
	n, err = s.writeAll(ctx, v)
	size := length(v)
	switch {
	case err == nil || n == 0 || n == size:
	case isTimeout(err) || ctx.Err() != nil && errors.Is(err, ctx.Err()):
		behind = true
		rest := slices.Concat(skip(slices.Clone(v), n)...)
		go s.finishWrite(turns, rest, nil)
		return size, err
	default:
		s.poison = fmt.Errorf("%w: %w", ErrPoisoned, err)
	}
	return n, err
}

// writeAll writes v until ctx ends, where the carrier keeps packets as one.
func (s *Stream) writeAll(ctx context.Context, v [][]byte) (n int64, err error) {
	s.rest = append(s.rest[:0], v...)
	if s.KeepsPackets() {
		n, err = s.writePacket(ctx, s.rest)
	} else {
		n, _, err = s.writeRest(ctx)
	}
	clear(s.rest)
	return n, err
}

// A wrote is the result of a write.
type wrote struct {
	n   int64
	err error
}

// writeBehind leaves b to another goroutine, whose write ctx does not end: all that ctx ends is the
// waiting for it.
func (s *Stream) writeBehind(ctx context.Context, turns *patience.Turns, b []byte) (int64, error) {
	done := make(chan wrote, 1)
	go s.finishWrite(turns, b, done)
	select {
	case w := <-done:
		return w.n, w.err
	case <-ctx.Done():
		return int64(len(b)), ctx.Err()
	}
}

// finishWrite writes b for as long as that takes. If b does not go out whole, nothing can be
// written to the stream any more: a part is out, or its caller has gone.
func (s *Stream) finishWrite(turns *patience.Turns, b []byte, done chan<- wrote) {
	w := wrote{err: errExited}
	defer func() {
		if w.err != nil {
			s.poison = fmt.Errorf("%w: %w", ErrPoisoned, w.err)
		}
		s.endWrite()
		turns.Pass()
		if done != nil {
			done <- w
		}
	}()
	w.n, w.err = s.writeAll(context.Background(), [][]byte{b})
}
