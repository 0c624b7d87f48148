package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
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
	prompt bool     // Reply must not wait
	server *Mailbox // whose Call function answers; nil for CallOf
	trace  *trace   // that the request has brought

	replied atomic.Bool
	later   atomic.Pointer[Mailbox] // the process that has left it for later
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
	if b.served.handler {
		c.leaveForLater(b)
	}
	return c, true
}

// init makes the Call that a request to b is, which has come over conn; absent is as for absentFor.
func (c *Call) init(b *Mailbox, conn *Conn, t *trace, q *otp.Request, absent ei.Atom) {
	c.From, c.alias, c.tag = q.From.Pid, q.From.Alias, q.Tag
	c.n, c.by, c.conn, c.trace, c.encode = b.n, b.pid, conn, t, b.n.absentFor(absent, "", q.Body)
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
	c.isAnswered()
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
		c.trace.mark(ctl)
		return c.n.send(ctx, ctl, node, answer)
	}
	// the peer, or a process of this node, has passed the request on, or says so
	ctl := c.addressHere()
	if !c.n.mayAnswer(c.conn, c.tag, node, ctl) {
		return nil
	}
	if node != c.n.Name() {
		return wrap("reply", node, c.n.answerThird(ctx, c.conn, c.addressee(), c.prompt, answer))
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
		return wrap("reply", node, c.n.answerWorker(ctx, c.conn, at, ctl, c.prompt, answer))
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
	c.trace.mark(&ctl)
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

// A Caller is a *Node, which calls with a process made for each call, or a *Mailbox, whose pid the
// server sees.
type Caller interface {
	// Call is gen_server:call(Pid, Request): see Node.Call and Mailbox.Call.
	Call(ctx context.Context, to ei.Pid, request any) (ei.Term, error)
	// CallName is gen_server:call({Name, Node}, Request): see Node.CallName.
	CallName(ctx context.Context, node, name string, request any) (ei.Term, error)
	// RPC is rpc:call(Node, Mod, Fun, Args): see Node.RPC and Mailbox.RPC.
	RPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error)
	// ERPC is erpc:call(Node, Mod, Fun, Args): see Node.ERPC and Mailbox.ERPC.
	ERPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error)
	// callTo makes a gen call, and returns a cursor at the reply.
	callTo(ctx context.Context, to bonds.Target, request any) (ei.Cursor, error)
	// erpcTo is erpc:call, and returns a cursor at the result.
	erpcTo(ctx context.Context, node string, f remoteFunc) (ei.Cursor, error)
	encode() ei.EncodeOptions
}

func (b *Mailbox) encode() ei.EncodeOptions { return b.n.encode() }

func (n *Node) callTo(ctx context.Context, to bonds.Target, request any) (ei.Cursor, error) {
	return n.call(ctx, to, request, nil, nil)
}

// CallAs makes a request to a process, gen_server:call(Pid, Request), and stores the reply in an R,
// as ei.Unmarshal does:
//
//	quote, err := nodes.CallAs[Quote](ctx, n, pid, ei.T("quote", order)) // {quote, Order}
//
// The request is any value that ei.Append takes. A slice is a list: []any{"quote", order} is no
// tuple, and ends most servers with function_clause; ei.T makes one, ei.Tagged one of terms, and a
// struct may say that it is one (tuple=quote).
//
// A reply that an R can be is the result, whatever it says: an ei.Term, an ei.Result or a struct
// that is a tuple takes {ok, Value} and {error, Reason} as they are. Else the R is the Value of
// {ok, Value}, ok alone gives a zero R, and {error, Reason}, or error alone, is an *ei.ReasonError.
// A reply of any other type is an *ei.UnmarshalError. CallAs waits as Node.Call does, and
// returns the same errors: an *ExitError if the process ends or does not exist.
func CallAs[R any](ctx context.Context, caller Caller, to ei.Pid, request any) (R, error) {
	node := string(to.Node)
	c, err := caller.callTo(ctx, bonds.Target{Node: node, Pid: to}, request)
	return replyAs[R](c, "call", node, err)
}

// CallNameAs is CallAs to the process that has a registered name on a node, gen_server:call({Name,
// Node}, Request):
//
//	quote, err := nodes.CallNameAs[Quote](ctx, n, "shop@host", "pricing", ei.T("quote", order))
//
// It waits as Node.CallName does, and returns the same errors.
func CallNameAs[R any](ctx context.Context, caller Caller, node, name string, request any) (R, error) {
	c, err := caller.callTo(ctx, bonds.Target{Node: node, Name: ei.Atom(name)}, request)
	return replyAs[R](c, "call "+name+" at", node, err)
}

// RPCAs calls a function on a node, rpc:call(Node, Mod, Fun, Args), and stores its result in an R,
// as CallAs does:
//
//	stock, err := nodes.RPCAs[int](ctx, n, "shop@host", "Elixir.Shop", "stock", sku)
//
// An exception is an *RPCError that wraps a *Raise, of class error or exit; what a function throws
// is its result, as with rpc:call. RPCAs waits as Node.RPC does, and returns the same errors.
func RPCAs[R any](ctx context.Context, caller Caller, node, mod, fun string, args ...any) (R, error) {
	c, err := caller.callTo(ctx, bonds.Target{Node: node, Name: "rex"}, newRexCall(ctx, node, mod, fun, args))
	if err == nil {
		err = badRPC(c)
	}
	return replyAs[R](c, callOp(mod, fun, args), node, err)
}

// badRPC is the error that a reply of rex stands for; nil if it is none.
func badRPC(c ei.Cursor) error {
	if size, err := c.Tuple(); err != nil || size != 2 || !c.AtomIs("badrpc") {
		return nil
	}
	reason, err := c.Term()
	if err != nil {
		return err
	}
	return &RPCError{reason}
}

// replyAs reads a reply; err is that of the call.
func replyAs[R any](c ei.Cursor, op, node string, err error) (reply R, _ error) {
	if err != nil {
		return reply, wrap(op, node, err)
	}
	at := c
	if err = at.Unmarshal(&reply); err == nil {
		return reply, nil
	}
	var result ei.Result[R]
	if isResult(c) {
		if err = c.Unmarshal(&result); err == nil {
			err = result.Err
		}
	}
	return result.Value, wrap(op, node, err)
}

// isResult tells whether the next term is ok, error, {ok, _} or {error, _}.
func isResult(c ei.Cursor) bool {
	if size, err := c.Tuple(); err == nil && size != 2 {
		return false
	}
	return c.AtomIs("ok") || c.AtomIs("error")
}

// Messages yields the messages to a mailbox that a T can be, as ei.Unmarshal stores them. It ends
// as Mailbox.All does: without an error when ctx ends, or the node, or, in a function, when the
// node stops. Others are dropped, since anybody may send anything: the first from a peer with a
// warning, later ones with one a minute. So are the signals of links and monitors, which are no
// terms: All gives them. If no term can be a T, the only pair has an *ei.MappingError.
func Messages[T any](ctx context.Context, b *Mailbox) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := unreadable(reflect.TypeFor[T]()); err != nil {
			yield(*new(T), wrap("receive", "", err))
			return
		}
		for m, err := range b.All(ctx) {
			var v T
			if err != nil {
				yield(v, err)
				return
			}
			fits := b.read(m, &v)
			m.Release()
			// who sends fast what is none would keep the loop from hearing of ctx
			if fits && !yield(v, nil) || !fits && ctx.Err() != nil {
				return
			}
		}
	}
}

// read stores the term of a message in what v points to; if it does not fit, that is logged.
func (b *Mailbox) read(m *Message, v any) (fits bool) {
	if m.Payload == nil {
		b.n.unwanted(b, m)
		return false
	}
	c := ei.NewCursor(m.Payload)
	if err := c.Unmarshal(v); err != nil {
		b.n.misused(m.asker(), b.n.nameOf(b), err)
		return false
	}
	return true
}
