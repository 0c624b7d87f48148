package nodes

import (
	"context"
	"iter"
	"reflect"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
)

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

// Messages yields the messages to a mailbox that a T can be, as ei.Unmarshal stores them. It ends
// as Mailbox.All does: without an error when ctx ends, or the node, or, in a function, when the
// node stops. Others are dropped, since anybody may send anything: the first from a peer with a
// warning, later ones with one a minute. So are the signals of links and monitors, which are no
// terms: All gives them. If no term can be a T, the only pair has an *ei.MappingError.
func Messages[T any](ctx context.Context, b *Mailbox) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := gofunc.Unreadable(reflect.TypeFor[T]()); err != nil {
			yield(*new(T), wrap("receive", "", err))
			return
		}
		for m, err := range b.All(ctx) {
			var v T
			if err != nil {
				yield(v, err)
				return
			}
			fits := b.readInto(m, &v)
			m.Release()
			// who sends fast what is none would keep the loop from hearing of ctx
			if fits && !yield(v, nil) || !fits && ctx.Err() != nil {
				return
			}
		}
	}
}

// readInto stores the term of a message in what v points to; if it does not fit, that is logged.
func (b *Mailbox) readInto(m *Message, v any) (fits bool) {
	if m.Payload == nil {
		b.n.faults.unwanted(b, m)
		return false
	}
	c := ei.NewCursor(m.Payload)
	if err := c.Unmarshal(v); err != nil {
		b.n.faults.misused(m.asker(), b.n.nameOf(b), err)
		return false
	}
	return true
}
