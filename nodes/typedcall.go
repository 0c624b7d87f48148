package nodes

import (
	"context"
	"fmt"
	"iter"

	"github.com/cnode-go/cnode/ei"
)

// A Caller is a *Node, which calls with a process made for each call, or a *Mailbox, whose pid the
// server sees.
type Caller interface {
	// callTo makes a gen call, and returns a cursor at the reply.
	callTo(ctx context.Context, to target, request any) (ei.Cursor, error)
}

func (n *Node) callTo(ctx context.Context, to target, request any) (ei.Cursor, error) {
	return n.call(ctx, to, request, nil, nil)
}

// CallAs makes a request to the process that has a registered name on a node,
// gen_server:call({Name, Node}, Request), and stores the reply in an R, as ei.Unmarshal does. The
// request is any value that ei.Append takes; a tuple of Go values is a struct that says so:
//
//	type quoteFor struct { // {quote, Order}
//		_     struct{} `ei:"tuple=quote"`
//		Order Order
//	}
//	quote, err := nodes.CallAs[Quote](ctx, n, "shop@host", "pricing", quoteFor{Order: order})
//
// A reply that an R can be is the result, whatever it says: an ei.Term, an ei.Result or a struct
// that is a tuple takes {ok, Value} and {error, Reason} as they are. Else the R is the Value of
// {ok, Value}, ok alone gives a zero R, and {error, Reason}, or error alone, is an *ei.ReasonError.
// A reply of any other type is an *ei.UnmarshalError. CallAs waits as Node.CallName does, and
// returns the same errors: an *ExitError if the process ends or does not exist.
func CallAs[R any](ctx context.Context, caller Caller, node, name string, request any) (R, error) {
	c, err := caller.callTo(ctx, target{node: node, name: ei.Atom(name)}, request)
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
	c, err := caller.callTo(ctx, target{node: node, name: "rex"}, rexCall(mod, fun, args))
	if err == nil {
		err = badRPC(c)
	}
	return replyAs[R](c, fmt.Sprintf("call %s:%s/%d at", mod, fun, len(args)), node, err)
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

// Messages yields the messages to a mailbox that a T can be, as ei.Unmarshal stores them, until
// Mailbox.Receive fails; the last pair has its error. Others are dropped, since anybody may send
// anything: the first from a peer with a warning, later ones at the level Debug; of those from this
// node one a second has a warning. So are the signals of links and monitors, which are no terms:
// All gives them. If no term can be a T, the only pair has an *ei.MappingError.
func Messages[T any](ctx context.Context, b *Mailbox) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := unmappable(new(T)); err != nil {
			yield(*new(T), wrap("receive", "", err))
			return
		}
		for {
			var v T
			m, err := b.Receive(ctx)
			if err != nil {
				yield(v, err)
				return
			}
			fits := b.read(m, &v)
			m.Release()
			if fits {
				if !yield(v, nil) {
					return
				}
			} else if err := ctx.Err(); err != nil { // who sends fast would keep the loop from hearing of it
				yield(*new(T), wrap("receive", "", err))
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
		b.n.misused(m.asker(), false, b.n.nameOf(b), err)
		return false
	}
	return true
}
