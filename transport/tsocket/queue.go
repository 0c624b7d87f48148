package tsocket

import (
	"context"

	"github.com/cnode-go/cnode/transport"
)

// SendToQueue is SendTo of a socket in the caller's turn of q: each caller gets its own result, and
// none ErrBusy, as long as nothing else sends on the socket. A caller whose ctx ends before it has
// sent sends nothing, and harms no other caller. Datagrams are never combined. p is the caller's
// again when SendToQueue returns. One queue may serve several sockets, streams among them. Closing
// the socket ends its calls, each in its turn, with net.ErrClosed. See tdgram_sendto_queue_send.
func SendToQueue(ctx context.Context, q *transport.Queue, d Socket, p []byte, to transport.Addr) (n int, err error) {
	begun := false
	err = q.Do(ctx, func() (err error) {
		begun = true
		n, err = d.SendTo(ctx, p, to)
		return err
	})
	if err != nil && !begun {
		if to == nil {
			to = d.RemoteAddr()
		}
		err = opError("send", to, err)
	}
	return n, err
}
