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

// A SendQueue serialises many senders on a datagram socket's sending direction. Order is strict:
// what was asked for first is sent first. Nothing else may send on the socket. Its methods are safe
// for concurrent use. Datagrams are never combined. See the tsocket guide, "Async 'tevent_queue'
// based helper functions".
type SendQueue struct {
	d     DatagramSocket
	turns await.Turns
}

// NewSendQueue makes a queue in front of d.
func NewSendQueue(d DatagramSocket) *SendQueue { return &SendQueue{d: d} }

// SendToQueue is SendTo of the socket in the caller's turn: each caller gets its own result. A
// caller whose ctx ends before it has sent sends nothing, and harms no other caller. p is the
// caller's again when SendToQueue returns. Closing the socket ends all calls with net.ErrClosed.
// See tdgram_sendto_queue_send.
func (q *SendQueue) SendToQueue(ctx context.Context, p []byte, to Addr) (int, error) {
	err := ended(ctx)
	if err == nil {
		err = q.turns.Take(ctx)
	}
	if err != nil {
		if to == nil {
			to = q.d.RemoteAddr()
		}
		return 0, opError("send", to, err)
	}
	defer q.turns.Pass()
	return q.d.SendTo(ctx, p, to)
}
