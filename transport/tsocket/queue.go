package tsocket

import (
	"context"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
)

// A SendQueue serialises many senders on a datagram socket's sending direction. Order is strict:
// what was asked for first is sent first. Nothing else may send on the socket. Its methods are safe
// for concurrent use. Datagrams are never combined. See the tsocket guide, "Async 'tevent_queue'
// based helper functions".
type SendQueue struct {
	d     Socket
	turns await.Turns
}

// NewSendQueue makes a queue in front of d.
func NewSendQueue(d Socket) *SendQueue { return &SendQueue{d: d} }

// SendToQueue is SendTo of the socket in the caller's turn: each caller gets its own result. A
// caller whose ctx ends before it has sent sends nothing, and harms no other caller. p is the
// caller's again when SendToQueue returns. Closing the socket ends all calls with net.ErrClosed.
// See tdgram_sendto_queue_send.
func (q *SendQueue) SendToQueue(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	err := await.Ended(ctx)
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
