package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A Call is a request of gen_server:call.
type Call struct {
	// From is the process that waits for the reply; only its Node if the caller has given an alias.
	From    ei.Pid
	Request ei.Term // from Mailbox.CallOf, an ei.Raw if it cannot be decoded

	n      *Node
	conn   *Conn
	alias  ei.Ref // where the caller waits, in place of From; without words: none
	tag    ei.Raw
	prompt bool     // Reply must not wait
	server *Mailbox // whose Call function answers; nil for CallOf

	replied atomic.Bool
}

// CallOf reads the message as a gen_server:call request, for Call.Reply; false if it is none. The
// message may then be released. The request is decoded, unless it is over one of ei.Limits or
// malformed: then it is an ei.Raw, so that the caller can still get an answer. What goes on to a
// third node, be it such a Raw or the term, is to be decoded strictly before (ei.DecodeOptions):
// that node would end its connection with this one over a term that it refuses.
func (b *Mailbox) CallOf(m *Message) (*Call, bool) {
	if m.Payload == nil {
		return nil, false
	}
	from, tag, request, ok := otp.GenCall(m.Payload)
	if !ok {
		return nil, false
	}
	t, err := request.Decode()
	if err != nil {
		t = ei.Raw(bytes.Clone(request))
	}
	return &Call{
		From: from.Pid, alias: from.Alias, Request: t, n: b.n, conn: m.asker(), tag: bytes.Clone(tag),
	}, true
}

// Reply answers the call, from any goroutine. It waits as Conn.Send does. But if another node has
// passed the caller's request on, it waits neither for room in a mailbox of this node nor for a
// connection: the reply is sent when the connection is up, if that is soon. If v cannot be encoded,
// that is the error, and the caller gets {error, Text}. After any other error nothing was sent, and
// Reply may be called again.
func (c *Call) Reply(ctx context.Context, v any) error {
	if !c.replied.CompareAndSwap(false, true) {
		return wrap("reply", string(c.From.Node), ErrReplied)
	}
	value, unencodable := ei.Append(nil, v)
	if unencodable != nil { // the caller must not wait for ever
		unencodable = wrap("reply", string(c.From.Node), fmt.Errorf("%w: %w", errUnencodable, unencodable))
		value, _ = ei.Append(nil, tuple(ei.Atom("error"), unencodable.Error()))
	}
	err := c.reply(ctx, value)
	c.replied.Store(err == nil)
	return errors.Join(unencodable, err)
}

func (c *Call) reply(ctx context.Context, value ei.Raw) (err error) {
	answer := ei.Tuple{c.tag, value}
	// the connection has moved away, and perhaps come back
	if c.conn != nil && c.conn.Err() == ErrMoved {
		if back := c.n.Conn(c.conn.peer.Name); back != nil {
			c.conn = back
		}
	}
	node := string(c.From.Node)
	ctl := &dist.Control{Op: dist.OpSend, To: c.From}
	switch {
	case c.alias.Len > 0 && node == c.n.Name(): // no process of Go gives itself an alias
		c.n.stats.undeliverable.Add(1)
		return nil
	case c.conn != nil && node == c.conn.peer.Name:
		return c.replyOver(ctx, c.conn, answer)
	case c.conn == nil && node == c.n.Name():
		return c.n.send(ctx, ctl, node, answer)
	case node != c.n.Name(): // the peer, or a process of this node, has passed the request on
		return wrap("reply", node, c.n.answerThird(ctx, c.conn, c.addressee(), c.prompt, answer))
	}
	if _, err := c.tag.Decode(); err != nil {
		return wrap("reply", node, err)
	}
	if b := c.n.procs.local(c.From); b != nil && !b.isHeld() {
		return c.n.sendHereNow(ctl, answer)
	}
	if at := c.n.router.home(c.From); at != 0 {
		return wrap("reply", node, c.n.answerWorker(ctx, c.conn, at, ctl, c.prompt, answer))
	}
	return c.n.send(ctx, ctl, node, answer)
}

// replyOver sends the answer over a connection.
func (c *Call) replyOver(ctx context.Context, conn *Conn, answer ei.Term) error {
	ctl, err := conn.answerTo(c.addressee())
	if err != nil {
		return wrap("reply", conn.peer.Name, err)
	}
	if !c.prompt {
		return conn.send(ctx, ctl, answer)
	}
	payload, err := ei.AppendTerm(nil, answer)
	if err == nil {
		conn.signal(ctl, payload)
	}
	return err
}

func (c *Call) addressee() otp.Addressee {
	alias, ok := otp.AliasOf(c.tag)
	if !ok {
		alias = c.alias
	}
	return otp.Addressee{Pid: c.From, Alias: alias}
}

func (c *Conn) answerTo(to otp.Addressee) (*dist.Control, error) {
	switch {
	case to.Alias.Len > 0 && c.peer.Flags.Has(dist.FlagAlias):
		return &dist.Control{Op: dist.OpAliasSend, From: c.self, Ref: to.Alias}, nil
	case to.Pid == ei.Pid{Node: to.Pid.Node}:
		return nil, fmt.Errorf("the node knows no aliases: %w", errors.ErrUnsupported)
	}
	return &dist.Control{Op: dist.OpSend, To: to.Pid}, nil
}
