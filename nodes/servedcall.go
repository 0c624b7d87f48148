package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
)

// A Call is a request of gen_server:call that this node serves; Node.Call makes one.
type Call struct {
	// From is the process that waits for the reply; only its Node if the caller has given an alias.
	From    ei.Pid
	Request ei.Term // from Mailbox.CallOf, an ei.Raw if it cannot be decoded

	n      *Node
	by     ei.Pid // the process that answers
	conn   *Conn
	alias  ei.Ref // where the caller waits, in place of From; without words: none
	tag    ei.Raw
	encode ei.EncodeOptions
	prompt bool            // Reply must not wait
	server *Mailbox        // whose Call function answers; nil for CallOf
	trace  *seqtrace.Trace // that the request has brought

	replied atomic.Bool
	later   atomic.Pointer[Mailbox] // the process that has left it for later
	over    *Conn                   // then: the connection that it has come over
}

// CallOf reads the message as a gen_server:call request, for Call.Reply; false if it is none. The
// message may then be released. The request is decoded, unless it is over one of ei.Limits or
// malformed: then it is an ei.Raw, so that the caller can still get an answer. What goes on to a
// third node, be it such a Raw or the term, is to be decoded strictly before (ei.DecodeOptions):
// that node would end its connection with this one over a term that it refuses.
func (b *Mailbox) CallOf(m *Message) (*Call, bool) {
	q := otp.ReadRequest(m.Payload)
	if q.Kind != otp.Call {
		return nil, false
	}
	c := new(Call)
	c.init(b, m.asker(), m.trace(), &q, "")
	c.tag = bytes.Clone(c.tag)
	var err error
	if c.Request, err = q.Body.Decode(); err != nil {
		c.Request = ei.Raw(bytes.Clone(q.Body))
	}
	c.leaveForLater(b)
	return c, true
}

// AppendTerm encodes who waits for the reply, for another process of the operating system to answer
// in place of this one: see Mailbox.CallFrom. It is the From of gen_server's handle_call.
func (c *Call) AppendTerm(b []byte) ([]byte, error) {
	var from ei.Term = c.From
	if c.alias.Len > 0 {
		from = c.alias
	}
	return ei.AppendTerm(b, ei.Tuple{from, c.tag})
}

// CallFrom is a call that another process of the operating system has left for later (NoReply,
// CallOf), and that is to be answered here: b is the process that was called, restored with its
// node, and from what Call.AppendTerm wrote there. Call it before Staged.Start, in Config.Setup
// say: Start tells all other callers that there is no answer, as when the process ends (shutdown).
// The call has no Request. The error is ErrNoConnection if the caller's node is not connected any
// more, and one of a from that Call.AppendTerm has not written.
func (b *Mailbox) CallFrom(from ei.Term) (*Call, error) {
	raw, err := ei.Append(nil, ei.T("$gen_call", from, 0))
	q := otp.ReadRequest(raw)
	if err == nil && q.Kind != otp.Call {
		err = errors.New("this is not who waits for a reply")
	}
	conn := b.n.Conn(string(q.From.Pid.Node))
	if err == nil && conn == nil {
		err = ErrNoConnection
	}
	if err != nil {
		return nil, wrap("call from", string(q.From.Pid.Node), err)
	}
	c := new(Call)
	c.init(b, conn, nil, &q, "")
	c.leaveForLater(b)
	return c, nil
}

// init makes the Call that a request to b is, which has come over conn; absent is as for absentFor.
func (c *Call) init(b *Mailbox, conn *Conn, t *seqtrace.Trace, q *otp.Request, absent ei.Atom) {
	c.From, c.alias, c.tag = q.From.Pid, q.From.Alias, q.Tag
	c.n, c.by, c.conn, c.trace, c.encode = b.n, b.pid, conn, t, b.n.funcs.absentFor(absent, "", q.Body)
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
	buf := c.n.links.Scratch()
	defer c.n.links.Recycle(buf)
	head := append(ei.AppendTupleHeader((*buf)[:0], 2), c.tag...)
	answer, unencodable := c.encode.Append(head, v)
	if unencodable == nil {
		unencodable = link.RawFault(v, answer[len(head):])
	}
	if unencodable != nil { // the caller must not wait for ever
		unencodable = wrap("reply", string(c.From.Node), fmt.Errorf("%w: %w", errUnencodable, unencodable))
		answer, _ = ei.Append(head, ei.T("error", unencodable.Error()))
	}
	*buf = answer
	err := c.reply(ctx, answer)
	c.replied.Store(err == nil)
	if err == nil && c.server != nil {
		if care := c.server.care.Load(); care != nil {
			care.noteOut(c.server, c.addressee(), answer[len(head):])
		}
	}
	if !errors.Is(err, ErrMoved) { // else the caller waits for whoever goes on with the call
		c.isAnswered()
	}
	return errors.Join(unencodable, err)
}

// reply sends {Tag, Value}. It keeps nothing of the answer's memory, unless that is too large for
// buffers that are used again.
func (c *Call) reply(ctx context.Context, answer ei.Raw) (err error) {
	// the connection has moved away, and perhaps come back
	if c.conn != nil && c.conn.Err() == ErrMoved {
		if back := c.n.Conn(c.conn.Name()); back != nil {
			c.conn = back
		}
	}
	node := string(c.From.Node)
	switch {
	case c.conn != nil && node == c.conn.Name():
		return c.replyOver(ctx, c.conn, answer)
	case c.conn == nil && node == c.n.Name():
		ctl := c.addressHere()
		c.trace.Mark(ctl)
		return c.n.send(ctx, ctl, node, answer)
	}
	// the peer, or a process of this node, has passed the request on, or says so
	ctl := c.addressHere()
	if !c.n.rights.mayAnswer(c.conn, c.tag, node, ctl) {
		return nil
	}
	if node != c.n.Name() {
		return wrap("reply", node, c.n.strangers.answerThird(ctx, c.conn, c.addressee(), c.prompt, answer))
	}
	tag, err := c.tag.Decode()
	if err != nil {
		return wrap("reply", node, err)
	}
	if _, made := tag.(ei.Atom); made { // no caller has such a tag: it makes another message of the reply
		return nil
	}
	if b := c.n.procs.addressee(ctl); b != nil && !b.isHeld() {
		return c.n.sendHereNow(ctl, answer)
	}
	at := c.n.home(c.From)
	if ctl.Op == dist.OpAliasSend {
		at = c.n.holder(ctl.Ref)
	}
	if at != 0 {
		return wrap("reply", node, c.n.strangers.answerWorker(ctx, c.conn, at, ctl, c.prompt, answer))
	}
	return c.n.send(ctx, ctl, node, answer)
}

// replyOver sends the answer over a connection.
func (c *Call) replyOver(ctx context.Context, conn *Conn, answer ei.Raw) error {
	ctl, err := conn.answerTo(c.addressee())
	if err != nil {
		return wrap("reply", conn.Name(), err)
	}
	ctl.From = c.by // what that sends later, its end above all, follows the reply
	c.trace.Mark(&ctl)
	if ctl.Op == dist.OpSend && conn.l.Peer().Flags.Has(dist.FlagSendSender) {
		ctl.Op = dist.OpSendSender
	}
	if c.prompt {
		conn.answer(&ctl, answer)
		return nil
	}
	how := link.InTurn
	if !link.Recycles(answer) {
		how = link.Owned
	}
	return conn.sendRaw(ctx, how, &ctl, answer)
}

func (c *Call) addressee() otp.Addressee {
	alias, ok := otp.AliasOf(c.tag)
	if !ok {
		alias = c.alias
	}
	return otp.Addressee{Pid: c.From, Alias: alias}
}

// addressHere addresses the reply to a process of this node.
func (c *Call) addressHere() *dist.Control {
	to := c.addressee()
	if to.Alias.Len == 0 {
		return &dist.Control{Op: dist.OpSend, To: to.Pid}
	}
	from := to.Pid
	switch {
	case c.server != nil:
		from = c.server.pid
	case c.conn != nil:
		from = c.conn.l.Self()
	}
	return &dist.Control{Op: dist.OpAliasSend, From: from, Ref: to.Alias}
}

func (c *Conn) answerTo(to otp.Addressee) (dist.Control, error) {
	ctl := dist.Control{Op: dist.OpAliasSend, From: c.l.Self(), Ref: to.Alias}
	switch {
	case to.Alias.Len > 0 && c.addressAlias(&ctl):
		return ctl, nil
	case to.Pid == ei.Pid{Node: to.Pid.Node}:
		return ctl, fmt.Errorf("the node knows no aliases: %w", errors.ErrUnsupported)
	}
	return dist.Control{Op: dist.OpSend, To: to.Pid}, nil
}
