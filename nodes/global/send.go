package global

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// Send sends a term to the process that has a name, in the name of from; nil: in that of
// global_name_server. It is global:send/2. ErrNoName if no process has the name; else it waits, and
// fails, as nodes.Mailbox.Send does.
func (g *Global) Send(ctx context.Context, from *nodes.Mailbox, name, term any) error {
	_, t, err := nameKey(name)
	if err != nil {
		return wrap("send to", t, err)
	}
	pid, ok := g.Whereis(t)
	if !ok {
		return wrap("send to", t, ErrNoName)
	}
	if from == nil {
		from = g.box.Mailbox()
	}
	return from.Send(ctx, pid, term)
}

// CallAs makes a request to the process that has a name, gen_server:call({global, Name}, Request),
// and stores the reply in an R as nodes.CallAs does. It waits until ctx ends; ErrNoName if no
// process has the name, else the errors of nodes.CallAs.
func CallAs[R any](ctx context.Context, g *Global, by nodes.Caller, name, request any) (R, error) {
	var reply R
	_, t, err := nameKey(name)
	if err != nil {
		return reply, wrap("call", t, err)
	}
	pid, ok := g.Whereis(t)
	if !ok {
		return reply, wrap("call", t, ErrNoName)
	}
	answer, err := by.Call(ctx, pid, request)
	if err != nil {
		return reply, wrap("call", t, err)
	}
	if err = ei.UnmarshalTerm(answer, &reply); err == nil {
		return reply, nil
	}
	if isResult(answer) {
		var result ei.Result[R]
		if err = ei.UnmarshalTerm(answer, &result); err == nil {
			reply, err = result.Value, result.Err
		}
	}
	return reply, wrap("call", t, err)
}

// isResult tells whether a term is ok, error, {ok, _} or {error, _}.
func isResult(t ei.Term) bool {
	if pair, ok := t.(ei.Tuple); ok && len(pair) == 2 {
		t = pair[0]
	}
	return isAtom(t, "ok") || isAtom(t, "error")
}
