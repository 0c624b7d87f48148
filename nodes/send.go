package nodes

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/atoms"
	"github.com/cnode-go/cnode/nodes/internal/life"
)

// keepScratch is the largest encoding buffer that is kept for later use, in bytes.
const keepScratch = 64 << 10

// copyPayload is the size, in bytes, up to which a payload is copied behind its control message:
// one buffer is cheaper to write than two.
const copyPayload = 4 << 10

// signalLimit is how many bytes of signals that do not wait for room on a connection, those of
// processes that end among them, may wait for a peer.
const signalLimit = DefaultMailboxLimit

// Send sends term (an ei.Term or a Go value, see ei.Append) to a process of the peer. It returns
// when the message is queued: it waits while Config.QueueLimit bytes already are, and while the
// connection is frozen; for a message of 128 KiB or more it waits until that has been written. A
// peer that takes fragments gets such a message in pieces, with others' messages between them. If
// ctx ends before its first byte is out nothing is sent; after that the rest goes out all the same,
// and before whatever the same process sends later. Under transport.NoWait a large message in
// pieces is copied, if less than DefaultMailboxLimit bytes of such messages are still to go out.
// If the connection has ended, even during the wait, the error is Err's. A term that
// cannot be encoded is ei.Append's error. It is ei_send.
func (c *Conn) Send(ctx context.Context, to ei.Pid, term any) error {
	return c.send(ctx, &dist.Control{Op: dist.OpSend, To: to}, term)
}

// SendName is Send to a registered name. The sender is Self; once the node has started, answers to
// it are lost: use a Mailbox. It waits as Send does, and has its errors; a name that cannot be an
// atom is a *dist.ControlError. It is ei_reg_send.
func (c *Conn) SendName(ctx context.Context, to string, term any) error {
	return c.send(ctx, &dist.Control{Op: dist.OpRegSend, From: c.self, ToName: ei.Atom(to)}, term)
}

// SendRaw is Send of an encoded term, without version byte. payload may be reused on return.
// Nothing is allocated for one of less than 128 KiB. It waits as Send does, and has its errors; a
// payload that is empty, or begins with a version byte, is dist.ErrFrame. The peer ends the
// connection over any other payload that is not a term, and the node's log has a warning. It is
// ei_send_encoded.
func (c *Conn) SendRaw(ctx context.Context, to ei.Pid, payload ei.Raw) error {
	ctl := dist.Control{Op: dist.OpSend, To: to}
	return c.SendControl(ctx, &ctl, payload)
}

// SendNameRaw is SendName of an encoded term, without version byte; otherwise it is like SendRaw.
// It is ei_send_reg_encoded.
func (c *Conn) SendNameRaw(ctx context.Context, to string, payload ei.Raw) error {
	ctl := dist.Control{Op: dist.OpRegSend, From: c.self, ToName: ei.Atom(to)}
	return c.SendControl(ctx, &ctl, payload)
}

// send encodes the term behind its control message, in one buffer.
func (c *Conn) send(ctx context.Context, ctl *dist.Control, term any) error {
	ctl = c.traced(ctl)
	buf := c.env.scratch.Get().(*[]byte)
	defer c.env.recycle(buf)
	b, err := dist.AppendFrameHeadFor((*buf)[:0], c.frameFlags(), ctl, 0)
	head := len(b)
	if err == nil {
		b, err = c.env.encode().Append(b, term)
	}
	if err == nil {
		c.complainOfRaw(ctl, term, b[head:])
	}
	cut := err == nil && c.cuts(len(b)-head)
	if err == nil && !cut {
		err = dist.FinishFrame(b)
	}
	switch {
	case err != nil:
		return wrap("send to", c.peer.Name, err)
	case cut: // which is too long for the buffer that others use
		return c.sendCut(ctx, ctl, b[head:], true)
	}
	*buf = b
	if c.packs(b[head:]) {
		return c.postPacked(ctx, c.sender(ctl), b[:head], b[head:])
	}
	return c.post(ctx, c.sender(ctl), b, nil)
}

// SendControl sends any control message; payload must be given exactly when the operation has one,
// as for SendRaw: else the error is dist.ErrFrame, and nothing is sent. A message that cannot be
// encoded is a *dist.ControlError. It waits as Send does, and has its other errors. Naming another
// process's pid or reference as the sender is the caller's responsibility.
func (c *Conn) SendControl(ctx context.Context, ctl *dist.Control, payload ei.Raw) error {
	var err error
	switch { // the peer would end the connection over these
	case ctl.Op.HasPayload() == (len(payload) == 0):
		err = fmt.Errorf("%w: payload of %d bytes for %v", dist.ErrFrame, len(payload), ctl.Op)
	case len(payload) > 0 && payload[0] == ei.VersionMagic: // the C library's have one
		err = fmt.Errorf("%w: payload with a version byte for %v: give it without", dist.ErrFrame, ctl.Op)
	}
	if err != nil {
		return wrap("send to", c.peer.Name, &dist.FrameError{Kind: dist.KindPassThrough, Err: err})
	}
	if len(payload) > 0 {
		c.complainOfRaw(ctl, payload, payload)
	}
	return c.sendControl(ctx, ctl, payload)
}

// sendControl is SendControl for a message that is known to have the right form, or that is passed
// on as it came.
func (c *Conn) sendControl(ctx context.Context, ctl *dist.Control, payload ei.Raw) error {
	return c.sendPayload(ctx, ctl, payload, false)
}

// sendPayload is sendControl; owned says that nobody else uses the payload's memory, then or later.
func (c *Conn) sendPayload(ctx context.Context, ctl *dist.Control, payload ei.Raw, owned bool) error {
	ctl = c.traced(ctl)
	if c.cuts(len(payload)) {
		return c.sendCut(ctx, ctl, payload, owned)
	}
	buf := c.env.scratch.Get().(*[]byte)
	defer c.env.recycle(buf)
	b, err := dist.AppendFrameHeadFor((*buf)[:0], c.frameFlags(), ctl, len(payload))
	if err != nil {
		return wrap("send to", c.peer.Name, err)
	}
	if c.packs(payload) {
		*buf = b
		return c.postPacked(ctx, c.sender(ctl), b, payload)
	}
	if len(payload) <= copyPayload {
		b, payload = append(b, payload...), nil
	}
	*buf = b
	return c.post(ctx, c.sender(ctl), b, payload)
}

// manyBytes is how many bytes of messages to several processes are posted at once.
const manyBytes = 32 << 10

// sendMany sends a term to processes of the peer, several in one post, and returns those to whom
// nothing was sent.
func (c *Conn) sendMany(ctx context.Context, from ei.Pid, to []ei.Pid, payload ei.Raw) (rest []ei.Pid, err error) {
	ctl := dist.Control{Op: dist.OpSend, From: from}
	if c.peer.Flags.Has(dist.FlagSendSender) {
		ctl.Op = dist.OpSendSender
	}
	traceOf(ctx).mark(&ctl)
	ctl = *c.traced(&ctl)
	buf := c.env.scratch.Get().(*[]byte)
	defer c.env.recycle(buf)
	for len(to) > 0 {
		ctl.To = to[0]
		if len(payload) > copyPayload || c.out.Loose() > 0 { // each by itself
			if err := c.sendControl(ctx, &ctl, payload); err != nil {
				return to, err
			}
			to = to[1:]
			continue
		}
		b, n := (*buf)[:0], 0
		for ; n < len(to) && len(b) < manyBytes; n++ {
			ctl.To = to[n]
			if b, err = dist.AppendFrameHeadFor(b, c.frameFlags(), &ctl, len(payload)); err != nil {
				return to, wrap("send to", c.peer.Name, err)
			}
			b = append(b, payload...)
		}
		*buf = b
		if err := c.post(ctx, from, b, nil); err != nil {
			return to, err
		}
		c.countSent(int64(n-1), len(b)/n)
		to = to[n:]
	}
	return nil, nil
}

// packs tells whether a payload may leave with references to atoms. What is to follow a message in
// fragments may go out in another process, which does not know what the peer has in its cache.
func (c *Conn) packs(payload ei.Raw) bool {
	return c.frameFlags().Has(dist.FlagDistHdrAtomCache) && c.out.Loose() == 0 && atoms.MayHave(payload)
}

// postPacked posts a message with references to atoms, or as it is, if it has none.
// head begins with a distribution header of no atoms.
func (c *Conn) postPacked(ctx context.Context, from ei.Pid, head []byte, payload ei.Raw) error {
	control := head[dist.EmptyHeaderSize:]
	posted, err := c.atoms.Send(ctx, control, payload, func(head, body []byte) error { return c.post(ctx, from, head, body) })
	if posted {
		return err
	}
	return c.post(ctx, from, head, payload)
}

// cuts tells whether a payload of that many bytes leaves in fragments.
func (c *Conn) cuts(payload int) bool {
	return c.out.Cuts(payload) && !c.env.cfg.SendWhole && c.frameFlags().Has(dist.FlagFragments)
}

// sendCut sends a message in fragments, and waits until they are out. owned says that nobody else
// uses the payload's memory, then or later.
func (c *Conn) sendCut(ctx context.Context, ctl *dist.Control, payload ei.Raw, owned bool) error {
	control, err := dist.AppendControl(nil, ctl)
	if err == nil {
		err = c.Err()
	}
	if err == nil {
		if err = c.out.Send(ctx, c.sender(ctl), control, payload, owned); err != nil {
			err = c.sendError(ctx, err)
		}
	}
	if err != nil {
		return wrap("send to", c.peer.Name, err)
	}
	c.countSent(1, len(payload))
	return nil
}

// passOn is sendControl for a reader that passes a message on: it waits for room only.
func (c *Conn) passOn(ctx context.Context, ctl *dist.Control, payload ei.Raw) error {
	if !c.cuts(len(payload)) {
		return c.sendControl(ctx, ctl, payload)
	}
	if err := c.postCut(ctx, ctl, payload, false); err != nil {
		return wrap("send to", c.peer.Name, c.sendError(ctx, err))
	}
	c.countSent(1, len(payload))
	return nil
}

// postCut posts a copy of a message, to leave in fragments. Unless it is urgent it waits for room.
func (c *Conn) postCut(ctx context.Context, ctl *dist.Control, payload ei.Raw, urgent bool) error {
	control, err := dist.AppendControl(nil, ctl)
	if err != nil {
		return err
	}
	return c.out.Post(ctx, c.sender(ctl), control, payload, false, urgent)
}

// sender is the process whose messages keep their order: those without a sender are the
// connection's own.
func (c *Conn) sender(ctl *dist.Control) ei.Pid {
	if ctl.From == (ei.Pid{}) {
		return c.self
	}
	return ctl.From
}

// signal is SendControl for the goroutine that reads: it never waits for the peer, lest two nodes
// wait for each other. A signal that cannot be encoded, an answer to a made-up identifier say, is
// dropped, and does not end the connection.
func (c *Conn) signal(ctl *dist.Control, payload ei.Raw) {
	_ = c.postSignal(context.Background(), ctl, payload, queue.Urgent)
}

func (c *Conn) postSignal(ctx context.Context, ctl *dist.Control, payload ei.Raw, mode queue.Mode) error {
	ctl = c.traced(ctl)
	buf := c.env.scratch.Get().(*[]byte)
	defer c.env.recycle(buf)
	b, err := dist.AppendFrameHeadFor((*buf)[:0], c.frameFlags(), ctl, len(payload))
	*buf = b
	if err != nil {
		c.complain(faultAnswer, "a signal that cannot be encoded is dropped", err)
		return nil
	}
	urgent, follows := mode&queue.Urgent != 0, false
	if c.cuts(len(payload)) {
		err = c.postCut(ctx, ctl, payload, urgent)
	} else if follows, err = c.out.Follow(ctx, c.sender(ctl), b, payload, urgent); !follows {
		err = c.q.Post(ctx, b, payload, mode)
	}
	if err != nil {
		return c.sendError(ctx, err)
	}
	return nil
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
		if toAlias(ctl) {
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

// takesAliases tells whether the peer sends to aliases, and takes what is sent to its own.
func (c *Conn) takesAliases() bool { return c.peer.Flags&(dist.FlagAlias|dist.FlagAltactSig) != 0 }

// addressAlias gives an ALIAS_SEND the form that the peer has agreed to: in the older one there is
// no priority. It is false if the peer knows no aliases.
func (c *Conn) addressAlias(ctl *dist.Control) bool {
	if c.peer.Flags.Has(dist.FlagAltactSig) {
		ctl.Op, ctl.Flags = dist.OpAltactSigSend, ctl.Flags&dist.AltactPrio|dist.AltactAlias
	}
	return c.takesAliases()
}

// resultKey is of the contexts with which results of functions and Servers are sent: whether
// another one is likely to follow at once.
type resultKey struct{}

// sendResult is the context for a result.
func (n *Node) sendResult(followed bool) context.Context {
	if followed {
		return n.followed
	}
	return n.alone
}

// postMode says how a message goes out. One that answers a message does so on this goroutine; one
// that follows another of ours, without one having come in between, is taken for part of a burst,
// and combined. So are results that others follow.
func (c *Conn) postMode(ctx context.Context) queue.Mode {
	burst := c.unpaired.Swap(true)
	if followed, ok := ctx.Value(resultKey{}).(bool); ok {
		burst = followed
	}
	if burst {
		return queue.Burst
	}
	return 0
}

// post hands a frame to the queue.
func (c *Conn) post(ctx context.Context, from ei.Pid, head, body []byte) error {
	if err := c.Err(); err != nil { // the queue may not have heard yet
		return wrap("send to", c.peer.Name, err)
	}
	mode := c.postMode(ctx)
	follows, err := c.out.Follow(ctx, from, head, body, false)
	switch n := len(head) + len(body); {
	case follows:
	case c.out.Measures(n):
		began := time.Now()
		if err = c.q.Post(ctx, head, body, mode); err == nil {
			c.out.Measure(n, began)
		}
	default:
		err = c.q.Post(ctx, head, body, mode)
	}
	if err != nil {
		return wrap("send to", c.peer.Name, c.sendError(ctx, err))
	}
	c.countSent(1, len(head)+len(body))
	return nil
}

func (c *Conn) sendError(ctx context.Context, err error) error {
	err, broken := c.reason(ctx, err)
	if !broken {
		return err
	}
	// this side has ended, and the peer may still have to read what was sent before: its own end is
	// awaited (bye)
	if c.leaves.Load() {
		return ErrClosed
	}
	return c.failed(err)
}

func (v *env) recycle(buf *[]byte) {
	if cap(*buf) <= keepScratch {
		v.scratch.Put(buf)
	}
}

// sendTick sends a frame of length zero; an error when nothing can be sent any more.
func (c *Conn) sendTick() error {
	return c.q.Post(context.Background(), dist.AppendTick(nil), nil, queue.Urgent)
}

// awaitRoom waits, as senders do, while the queue is full: a signal can then go out without
// waiting. It does not wait in a node that is not yet restored, whose queues stand still.
func (c *Conn) awaitRoom(ctx context.Context) error {
	for c.isFull() && c.env.life.Phase() != life.Staged {
		if err := c.Flush(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// progress differs between two moments if the peer, or its system, has taken something in between.
type progress struct {
	sent  int64 // what has gone out, by whole writes: a slow line takes long for one
	there int   // what the system has of it still, where it tells
}

func (c *Conn) progress() progress {
	_, sent := c.q.Buffered()
	there, err := c.s.OutstandingBytes()
	if err != nil {
		there = 0
	}
	return progress{sent, there}
}

// posted is how many bytes have ever been given to the queue.
func (c *Conn) posted() int64 {
	queued, sent := c.q.Buffered()
	return sent + int64(queued)
}

// isFull tells whether senders wait.
func (c *Conn) isFull() bool {
	queued, _ := c.q.Buffered()
	return queued > c.env.cfg.QueueLimit
}

// Flush waits until everything sent so far has been given to the transport, or until ctx or the
// connection ends: then the error is ctx's, or Err's.
func (c *Conn) Flush(ctx context.Context) error { return c.flush(ctx, "flush") }

func (c *Conn) flush(ctx context.Context, op string) error {
	if err := c.Err(); err != nil {
		return wrap(op, c.peer.Name, err)
	}
	if err := c.flushAll(ctx); err != nil {
		return wrap(op, c.peer.Name, c.sendError(ctx, err))
	}
	return nil
}

// flushAll waits until the transport has been given what leaves in fragments, and all else.
func (c *Conn) flushAll(ctx context.Context) error {
	if err := c.out.Flush(ctx); err != nil {
		return err
	}
	return c.q.Flush(ctx)
}

// tell is Node.tell for one connection.
func (c *Conn) tell(ctl *dist.Control) {
	if with, payload, ok := c.agreed(ctl); ok {
		c.signal(&with, payload)
	}
}

// tellLazily is tell in a mode with Lazy: behind what waits, and in turns with others' messages.
// False: there is no room for it, and ctx has ended the wait for some.
func (c *Conn) tellLazily(ctx context.Context, ctl *dist.Control, mode queue.Mode) bool {
	with, payload, ok := c.agreed(ctl)
	if !ok {
		return true
	}
	err := c.postSignal(ctx, &with, payload, mode)
	return err != os.ErrDeadlineExceeded && err != context.DeadlineExceeded
}

// tellInTurn is tell for a goroutine that may wait: until ctx ends it waits while much else is on
// its way to the peer.
func (c *Conn) tellInTurn(ctx context.Context, ctl *dist.Control) {
	if ctx.Err() == nil {
		// a failure before ctx ends is the connection's end
		if err := c.sendSignal(ctx, ctl); err == nil || ctx.Err() == nil || c.Err() != nil {
			return
		}
	}
	c.tell(ctl)
}

// sendSignal sends a signal in the form that the peer has agreed to, if the peer takes it.
func (c *Conn) sendSignal(ctx context.Context, ctl *dist.Control) error {
	with, payload, ok := c.agreed(ctl)
	if !ok { // the end of the connection is to tell, unless that has come already
		return c.Err()
	}
	return c.SendControl(ctx, &with, payload)
}
