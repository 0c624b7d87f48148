package global

import (
	"context"

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
	reply, err = nodes.CallAs[R](ctx, by, pid, request)
	return reply, wrap("call", t, err)
}
