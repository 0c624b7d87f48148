package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

// keepScratch is the largest encoding buffer that is kept for later use, in bytes.
const keepScratch = 64 << 10

// copyPayload is the size, in bytes, up to which a payload is copied behind its control message:
// one buffer is cheaper to write than two.
const copyPayload = 4 << 10

// SignalLimit is how many bytes of messages that are Now or Lazily, those of processes that end
// among them, may wait for a peer.
const SignalLimit = 64 << 20

// A How says who waits while a message is on its way, and for what. The order is one of InTurn, Now
// and Lazily; More, Owned and Copied can be added to it.
type How = queue.How

const (
	// Now: ahead of all that waits, and nobody waits, so it is for the reader. A peer that leaves
	// SignalLimit bytes of such messages unread loses the connection. What cannot be encoded, an
	// answer to a made-up identifier say, is dropped with a complaint.
	Now = queue.Now
	// Lazily: behind all that waits, by turns with others' messages. The caller waits for room
	// within SignalLimit. What cannot be encoded is dropped, as with Now.
	Lazily = queue.Lazily
	// More follows at once, for which a message that is Now or Lazily may wait.
	More = queue.More
	// Owned: nobody else uses the payload's memory, then or later. For messages in turn.
	Owned = More << 1
	// Copied: a message that leaves in fragments is copied, and the caller, a reader that passes it
	// on, waits for room only. A message that names no sender leaves after all copied ones: it may
	// be from the process that sent them. For messages in turn.
	Copied = More << 2

	// InTurn: behind what was sent before, in order with what its sender has sent. The caller waits
	// while Config.QueueLimit bytes are queued, while the connection is frozen, and for what leaves
	// in fragments until it is out.
	InTurn How = 0
)

// ErrNoRoom: the context has ended before there was room for a message that is Lazily.
var ErrNoRoom = errors.New("no room on the connection")

// Send sends an encoded message, in the form that the peer has agreed to. A signal that the peer
// does not take at all is not sent: only the end of the connection is to tell of the process. The
// error is ctx's, Err's, since a fault ends the connection, or, in turn, a *dist.ControlError for
// what cannot be encoded; ErrNoRoom with Lazily. The error of Now can be ignored: the end of the
// connection says the same.
func (c *Conn) Send(ctx context.Context, how How, ctl *dist.Control, payload ei.Raw) error {
	switch ctl.Op {
	case dist.OpMonitorP, dist.OpDemonitorP, dist.OpUnlinkID, dist.OpExit, dist.OpExit2, dist.OpMonitorPExit:
		with, reason, ok := c.agreed(ctl)
		if !ok {
			return c.Err()
		}
		return c.sendAsIs(ctx, how, &with, reason)
	}
	return c.sendAsIs(ctx, how, ctl, payload)
}

func (c *Conn) sendAsIs(ctx context.Context, how How, ctl *dist.Control, payload ei.Raw) error {
	if how&(Now|Lazily) != 0 {
		return c.signal(ctx, how, ctl, payload)
	}
	return c.inTurn(ctx, how, ctl, payload)
}

// SendTerm sends a message with a term, encoded behind the control message in one buffer. It waits
// as Send in turn does.
func (c *Conn) SendTerm(ctx context.Context, ctl *dist.Control, term any) error {
	ctl = c.traced(ctl)
	buf := c.env.Scratch()
	defer c.env.Recycle(buf)
	b, err := protocol.AppendFrameHead((*buf)[:0], c.frameFlags(), ctl, 0)
	head := len(b)
	if err == nil {
		b, err = c.env.Encode.Append(b, term)
	}
	packs := err == nil && c.packs(b[head:])
	if err == nil && !packs {
		c.complainOfRaw(ctl, term, b[head:])
	}
	cut := err == nil && c.cuts(len(b)-head)
	if err == nil && !cut {
		err = protocol.FinishFrame(b)
	}
	switch {
	case err != nil:
		return err
	case cut: // which is too long for the buffer that others use
		return c.sendCut(ctx, Owned, ctl, b[head:])
	}
	*buf = b
	if packs {
		return c.postPacked(ctx, ctl, b[:head], b[head:])
	}
	return c.post(ctx, c.sender(ctl), b, nil)
}

// SendControl sends what the program has made, in just that form: the error is dist.ErrFrame unless
// there is a payload exactly when the operation has one, and without a version byte. It waits as
// Send in turn does.
func (c *Conn) SendControl(ctx context.Context, ctl *dist.Control, payload ei.Raw) error {
	var err error
	switch { // the peer would end the connection over these
	case ctl.Op.HasPayload() == (len(payload) == 0):
		err = fmt.Errorf("%w: payload of %d bytes for %v", dist.ErrFrame, len(payload), ctl.Op)
	case len(payload) > 0 && payload[0] == ei.VersionMagic: // the C library's have one
		err = fmt.Errorf("%w: payload with a version byte for %v: give it without", dist.ErrFrame, ctl.Op)
	}
	if err != nil {
		return &dist.FrameError{Kind: protocol.KindPassThrough.String(), Err: err}
	}
	if len(payload) > 0 && !c.packs(payload) { // which looks for itself
		c.complainOfRaw(ctl, payload, payload)
	}
	return c.inTurn(ctx, InTurn, ctl, payload)
}

// manyBytes is how many bytes of messages to several processes are posted at once.
const manyBytes = 32 << 10

// SendMany sends a message, which a process has for others, to several processes of the peer with
// few writes, and returns those to whom nothing was sent. It waits as Send in turn does.
func (c *Conn) SendMany(ctx context.Context, ctl *dist.Control, to []ei.Pid, payload ei.Raw) (rest []ei.Pid, err error) {
	one := *c.traced(ctl)
	buf := c.env.Scratch()
	defer c.env.Recycle(buf)
	for len(to) > 0 {
		one.To = to[0]
		if len(payload) > copyPayload || c.fragments.Loose() > 0 { // each by itself
			if err := c.inTurn(ctx, InTurn, &one, payload); err != nil {
				return to, err
			}
			to = to[1:]
			continue
		}
		b, n := (*buf)[:0], 0
		for ; n < len(to) && len(b) < manyBytes; n++ {
			one.To = to[n]
			if b, err = protocol.AppendFrameHead(b, c.frameFlags(), &one, len(payload)); err != nil {
				return to, err
			}
			b = append(b, payload...)
		}
		*buf = b
		if err := c.post(ctx, one.From, b, nil); err != nil {
			return to, err
		}
		c.countSent(int64(n-1), len(b)/n)
		to = to[n:]
	}
	return nil, nil
}

// agreed gives a signal the form that the peer has agreed to: a reason inside the tuple, or as
// payload. It is false for a signal that the peer does not take at all: then only the end of the
// connection tells of the process. The C library announces FlagDistMonitor, but its programs end
// the connection over a monitor: as in OTP, monitors, of pids too, are sent only if
// FlagDistMonitorName is announced as well.
func (c *Conn) agreed(ctl *dist.Control) (with dist.Control, payload ei.Raw, ok bool) {
	with = *ctl
	switch ctl.Op {
	case dist.OpMonitorP, dist.OpDemonitorP:
		return with, nil, c.peer.Flags.Has(dist.FlagDistMonitor | dist.FlagDistMonitorName)
	case dist.OpUnlinkID:
		if !c.peer.Flags.Has(dist.FlagUnlinkID) {
			return dist.Control{Op: dist.OpUnlink, From: ctl.From, To: ctl.To}, nil, true
		}
	case dist.OpExit2:
		if ToAlias(ctl) {
			with.Op, with.Reason = dist.OpAltactSigSend, nil
			with.Flags = ctl.Flags&dist.AltactPrio | dist.AltactAlias | dist.AltactExit
			return with, ctl.Reason, c.peer.Flags.Has(dist.FlagAltactSig)
		}
	}
	if !c.peer.Flags.Has(dist.FlagExitPayload) {
		return with, nil, true
	}
	switch ctl.Op {
	case dist.OpExit:
		with.Op = dist.OpPayloadExit
	case dist.OpExit2:
		with.Op = dist.OpPayloadExit2
	case dist.OpMonitorPExit:
		with.Op = dist.OpPayloadMonitorPExit
	default:
		return with, nil, true
	}
	with.Reason = nil
	return with, ctl.Reason, true
}

// traced is the control message with its token, if it has one that the peer takes.
func (c *Conn) traced(ctl *dist.Control) *dist.Control {
	if len(ctl.Token) == 0 || !c.peer.Flags.Has(dist.FlagBigSeqtraceLabels) {
		return ctl
	}
	with := *ctl
	if with.Op = ctl.Op.Traced(); with.Op == dist.OpAltactSigSend {
		with.Flags |= dist.AltactToken
	}
	return &with
}

// Flush waits until everything sent so far has been given to the transport, what leaves in
// fragments included, or until ctx or the connection ends: then the error is ctx's, or Err's.
func (c *Conn) Flush(ctx context.Context) error {
	err := c.Err()
	if err != nil {
		return err
	}
	if err = c.fragments.Flush(ctx); err == nil {
		err = c.q.Flush(ctx)
	}
	if err != nil {
		return c.sendError(ctx, err)
	}
	return nil
}

// AwaitRoom waits, as senders in turn do, while the queue is full: a message can then go out Now
// without getting ahead of others'. It does not wait on a connection that is staged.
func (c *Conn) AwaitRoom(ctx context.Context) error {
	for c.isFull() && c.life.Phase() != life.Staged {
		if err := c.Flush(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// isFull tells whether senders in turn wait.
func (c *Conn) isFull() bool {
	queued, _ := c.q.Buffered()
	return queued > c.env.QueueLimit
}
