package link

import (
	"context"
	"os"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/atoms"
)

// inTurn sends a message as it is, and waits for room.
func (c *Conn) inTurn(ctx context.Context, how How, ctl *dist.Control, payload ei.Raw) error {
	ctl = c.traced(ctl)
	if how&Copied != 0 && ctl.From == (ei.Pid{}) {
		if err := c.fragments.Flush(ctx); err != nil {
			return err
		}
	}
	if c.cuts(len(payload)) {
		return c.sendCut(ctx, how, ctl, payload)
	}
	buf := c.env.Scratch()
	defer c.env.Recycle(buf)
	b, err := protocol.AppendFrameHead((*buf)[:0], c.frameFlags(), ctl, len(payload))
	if err != nil {
		return err
	}
	if c.packs(payload) {
		*buf = b
		return c.postPacked(ctx, ctl, b, payload)
	}
	if len(payload) <= copyPayload {
		b, payload = append(b, payload...), nil
	}
	*buf = b
	return c.post(ctx, c.sender(ctl), b, payload)
}

// signal sends a message Now or Lazily.
func (c *Conn) signal(ctx context.Context, how How, ctl *dist.Control, payload ei.Raw) error {
	ctl = c.traced(ctl)
	buf := c.env.Scratch()
	defer c.env.Recycle(buf)
	b, err := protocol.AppendFrameHead((*buf)[:0], c.frameFlags(), ctl, len(payload))
	*buf = b
	if err != nil {
		c.Complain(faultAnswer, "a signal that cannot be encoded is dropped", err)
		return nil
	}
	now := how&Now != 0
	if now {
		ctx = context.Background()
	}
	if follows := false; c.cuts(len(payload)) {
		err = c.postCut(ctx, ctl, payload, now)
	} else if follows, err = c.fragments.AfterLoose(ctx, c.sender(ctl), b, payload, now); !follows {
		err = c.q.Post(ctx, b, payload, how)
	}
	if err != nil {
		err = c.sendError(ctx, err)
	}
	if err == os.ErrDeadlineExceeded || err == context.DeadlineExceeded {
		return ErrNoRoom
	}
	return err
}

// packs tells whether a payload may leave with references to atoms. What is to follow a message in
// fragments may go out in another process, which does not know what the peer has in its cache.
func (c *Conn) packs(payload ei.Raw) bool {
	return c.frameFlags().Has(dist.FlagDistHdrAtomCache) && c.fragments.Loose() == 0 && atoms.MayHave(payload)
}

// postPacked posts a message with references to atoms, or as it is, if it has none. It complains of
// a payload that is no term. head begins with a distribution header of no atoms.
func (c *Conn) postPacked(ctx context.Context, ctl *dist.Control, head []byte, payload ei.Raw) error {
	control, from := head[protocol.EmptyHeaderSize:], c.sender(ctl)
	posted, sound, err := c.atoms.Send(ctx, control, payload, func(head, body []byte) error { return c.post(ctx, from, head, body) })
	if !sound {
		c.complainOfRaw(ctl, payload, payload)
	}
	if posted {
		return err
	}
	return c.post(ctx, from, head, payload)
}

// cuts tells whether a payload of that many bytes leaves in fragments.
func (c *Conn) cuts(payload int) bool {
	return c.fragments.Cuts(payload) && !c.env.SendWhole && c.frameFlags().Has(dist.FlagFragments)
}

// sendCut sends a message in fragments, and waits until they are out; if it is Copied, for room.
func (c *Conn) sendCut(ctx context.Context, how How, ctl *dist.Control, payload ei.Raw) error {
	control, err := protocol.AppendControl(nil, ctl)
	if err == nil {
		err = c.Err()
	}
	if err != nil {
		return err
	}
	if how&Copied != 0 {
		err = c.fragments.Post(ctx, c.sender(ctl), control, payload, false, false)
	} else {
		err = c.fragments.Send(ctx, c.sender(ctl), control, payload, how&Owned != 0)
	}
	if err != nil {
		return c.sendError(ctx, err)
	}
	c.countSent(1, len(payload))
	return nil
}

// postCut posts a copy of a message, to leave in fragments. Unless it goes now it waits for room.
func (c *Conn) postCut(ctx context.Context, ctl *dist.Control, payload ei.Raw, now bool) error {
	control, err := protocol.AppendControl(nil, ctl)
	if err != nil {
		return err
	}
	return c.fragments.Post(ctx, c.sender(ctl), control, payload, false, now)
}

// sender is the process whose messages keep their order: those without a sender are the
// connection's own.
func (c *Conn) sender(ctl *dist.Control) ei.Pid {
	if ctl.From == (ei.Pid{}) {
		return c.self
	}
	return ctl.From
}

// followedKey is of the contexts that say whether another message is likely to follow at once.
type followedKey struct{}

// Followed derives a context for messages in turn that others are likely to follow at once, or not.
// Without it the connection guesses.
func Followed(ctx context.Context, followed bool) context.Context {
	return context.WithValue(ctx, followedKey{}, followed)
}

// guess says how a message in turn goes out. If a message has come since the last one went out,
// this one is taken for an answer and written on this goroutine. If none has come, it is taken for
// part of a burst and combined with what follows. Followed decides instead of the guess.
func (c *Conn) guess(ctx context.Context) How {
	burst := c.unpaired.Swap(true)
	if followed, ok := ctx.Value(followedKey{}).(bool); ok {
		burst = followed
	}
	if burst {
		return More
	}
	return InTurn
}

// post hands a frame to the queue.
func (c *Conn) post(ctx context.Context, from ei.Pid, head, body []byte) error {
	if err := c.Err(); err != nil { // the queue may not have heard yet
		return err
	}
	how := c.guess(ctx)
	follows, err := c.fragments.AfterLoose(ctx, from, head, body, false)
	switch n := len(head) + len(body); {
	case follows:
	case c.fragments.Measures(n):
		began := time.Now()
		if err = c.q.Post(ctx, head, body, how); err == nil {
			c.fragments.Measure(n, began)
		}
	default:
		err = c.q.Post(ctx, head, body, how)
	}
	if err != nil {
		return c.sendError(ctx, err)
	}
	c.countSent(1, len(head)+len(body))
	return nil
}

// sendError is what a failed write has failed for; a fault of the connection ends it.
func (c *Conn) sendError(ctx context.Context, err error) error {
	err, broken := c.reason(ctx, err)
	if !broken {
		return err
	}
	// this side has ended, and the peer may still have to read what was sent before: its own end is
	// awaited: see Leave
	if c.leaves.Load() {
		return ErrClosed
	}
	return c.Fail(err)
}

// Scratch is a buffer for encoding, for Recycle.
func (v *Env) Scratch() *[]byte { return v.scratch.Get().(*[]byte) }

// Recycle takes a buffer back, unless it has become a large one.
func (v *Env) Recycle(buf *[]byte) {
	if Recycles(*buf) {
		v.scratch.Put(buf)
	}
}

// Recycles tells whether Recycle keeps a buffer.
func Recycles(buf []byte) bool { return cap(buf) <= keepScratch }

// sendTick sends a frame of length zero; an error when nothing can be sent any more.
func (c *Conn) sendTick() error {
	return c.q.Post(context.Background(), protocol.AppendTick(nil), nil, Now)
}
