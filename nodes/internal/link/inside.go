package link

import (
	"context"

	"github.com/cnode-go/cnode/internal/queue"
)

// An Inside shows tests of the package above what goes on inside of a connection. Nothing else may
// use it.
type Inside struct{ c *Conn }

// Within is the inside of a connection.
func Within(c *Conn) Inside { return Inside{c} }

// Reading tells whether a goroutine waits for a frame.
func (i Inside) Reading() bool { return i.c.reading.Load() }

// IsFull tells whether senders in turn wait.
func (i Inside) IsFull() bool { return i.c.isFull() }

// Queue is what frames wait in.
func (i Inside) Queue() queue.Queue { return i.c.q }

// Pending is the error that is to end the connection once it does not stand still any more.
func (i Inside) Pending() error {
	i.c.mu.Lock()
	defer i.c.mu.Unlock()
	return i.c.pendingErr
}

// SendTick sends a tick.
func (i Inside) SendTick() error { return i.c.sendTick() }

// SendError and ReceiveError do what the end of a write, or a read, with err does.
func (i Inside) SendError(ctx context.Context, err error) error { return i.c.sendError(ctx, err) }

// ReceiveError: see SendError.
func (i Inside) ReceiveError(ctx context.Context, err error) error {
	return i.c.receiveError(ctx, err)
}

// Inside is the frame that a message is in, and its payload, if that was made whole.
func (m *Memory) Inside() (frame, whole []byte) { return m.buf, m.whole }

// Plain makes the operation of a message that has not come over a connection the plain one.
func Plain(in In) { in.plain() }

// The sizes at which a frame is read otherwise: see trustedFrame and the like.
const (
	TrustedFrame = trustedFrame
	FrameStep    = frameStep
	FirstRoom    = firstRoom
)
