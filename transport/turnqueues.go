package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// A ReadQueue serialises many readers of packets on a stream's receiving direction: whoever asked
// first gets the first packet. Nothing else may read from the stream. Its methods are safe for
// concurrent use. See the tsocket guide, "Async 'tevent_queue' based helper functions".
type ReadQueue struct {
	s     *Stream
	turns await.Turns
	lost  error // owned by the caller whose turn it is
}

// errNextPanicked is the error of later calls after a next that has left by a panic or
// runtime.Goexit.
var errNextPanicked = errors.New("the next function of an earlier packet did not return")

// NewReadQueue makes a queue in front of s.
func NewReadQueue(s *Stream) *ReadQueue { return &ReadQueue{s: s} }

// ReadPDUQueue is ReadPDU of the stream in the caller's turn: each caller gets a packet of its own,
// whole, or its own error. next is called in that turn only. A caller whose ctx ends takes no byte,
// even in the middle of its packet: the next in line gets that packet. But when next fails inside a
// packet, or panics, nobody can tell where the following packet begins, and all later calls fail;
// so they do once the stream has ended inside a packet. Closing the stream ends all of them with
// net.ErrClosed. See tstream_readv_pdu_queue_send.
func (q *ReadQueue) ReadPDUQueue(ctx context.Context, next func() ([][]byte, error)) (int64, error) {
	err := ended(ctx)
	if err == nil {
		err = q.turns.Take(ctx)
	}
	if err != nil {
		return 0, opError("read", q.s.remote, err)
	}
	defer q.turns.Pass()
	if q.lost != nil {
		return 0, opError("read", q.s.remote, q.lost)
	}
	q.lost = errNextPanicked
	n, err := q.s.ReadPDU(ctx, next)
	q.lost = nil
	if err != nil && n > 0 {
		q.lost = fmt.Errorf("an earlier packet was left half-way: %w", err)
	}
	return n, err
}
