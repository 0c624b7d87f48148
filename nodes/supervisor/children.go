package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// Server is a child that is a nodes.Server under a name, or without one if that is empty; then give
// the Child an ID. Each start gets what newServer returns. The options, which may be nil, are those
// of nodes.Node.Serve, except that the Parent is the supervisor; the process traps exits if it has
// a function Terminate, which the supervisor then waits for.
func Server(name string, newServer func() nodes.Server, o *nodes.MailboxOptions) Child {
	return Child{ID: name, Start: func(_ context.Context, s *Supervisor) (ei.Pid, error) {
		b, err := serve(s.n, name, s.Pid(), newServer, o)
		if err != nil {
			return ei.Pid{}, err
		}
		return b.Pid(), nil
	}}
}

// Sub is a child that is a supervisor under a name. Options.Parent is the supervisor above it; nil
// options are as for Start.
func Sub(name string, o *Options, children ...Child) Child {
	return Child{ID: name, Supervisor: true, Start: func(ctx context.Context, s *Supervisor) (ei.Pid, error) {
		var opts Options
		if o != nil {
			opts = *o
		}
		opts.Parent = s.Pid()
		sub, err := Start(ctx, s.n, name, &opts, children...)
		if err != nil {
			return ei.Pid{}, err
		}
		return sub.Pid(), nil
	}}
}

// remoteStart is how long the start of a process of another node may take.
const remoteStart = 10 * time.Second

// Remote is a child at another node: what a function there starts and returns, {ok, Pid}, {ok, Pid,
// Info}, ignore or {error, Reason}. It is called with rpc:call, by a process that ends at once; so
// it must not link, as start_link does: use gen_server:start, GenServer.start and the like. The
// supervisor links with the process. It ends it with a message of module sys, terminate with reason
// shutdown, followed by the exit signal: the first reaches a behaviour that traps exits, the second
// any other process.
//
// Start does not wait for its first start, so that the node need not be up, and a supervisor that
// has such children, too, can be started in Config.Setup; a later start waits for the node's
// answer, 10 s at most. A process that is not the node's own needs MayExit of Config.Rules for that
// node. A start that fails is tried again after Options.Delay or, without one, after Period.
// Neither that nor the loss of the node counts as a restart, however many children are there.
func Remote(id, node, mod, fun string, args ...any) Child {
	return Child{ID: id, behaves: true, Start: func(ctx context.Context, s *Supervisor) (ei.Pid, error) {
		ctx, cancel := context.WithTimeout(ctx, remoteStart)
		defer cancel()
		v, err := s.n.RPC(ctx, node, mod, fun, args...)
		if err != nil {
			return ei.Pid{}, err
		}
		if v == ei.Atom("ignore") {
			return ei.Pid{}, nil
		}
		if t, ok := v.(ei.Tuple); ok && len(t) >= 2 && t[0] == ei.Atom("ok") {
			pid, ok := t[1].(ei.Pid)
			if ok && !s.n.AllowsProcess(node, nodes.MayExit, pid) { // the supervisor ends it
				return ei.Pid{}, fmt.Errorf("%s:%s/%d has returned a process that Config.Rules do not let %s end: %v", mod, fun, len(args), node, pid)
			}
			if ok {
				return pid, nil
			}
		}
		if t, ok := v.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("error") {
			return ei.Pid{}, &ei.ReasonError{Reason: t[1]}
		}
		return ei.Pid{}, fmt.Errorf("%s:%s/%d has returned %s", mod, fun, len(args), ei.Brief(v, 1000))
	}}
}
