package supervisor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
)

// leaving is how long a new process waits for the one that still has its name, and whose parent may
// just have gone.
const leaving = 2 * time.Second

// ExposeStart lets the supervisor of an Erlang or Elixir node start a Server here, as its child:
// NAME:start_link() makes a process of that name, linked with the caller, which is its parent, and
// returns {ok, Pid}, or {error, Reason}. The process ends with its parent; it traps exits if it has
// a function Terminate, which the supervisor then waits for. A process that still has the name, but
// whose parent is gone, is waited for, as long as the caller waits; one that has a parent is
// {error, {already_started, Pid}}. docs/how-to/supervise-from-elixir.md has the child's
// specification.
//
// Call it in nodes.Config.Setup: when the node has moved, it gives the process that was started
// before its functions again.
func ExposeStart(n *nodes.Node, name string, newServer func() nodes.Server, o *nodes.MailboxOptions) error {
	if _, moved := n.Inherited(); moved && n.Whereis(name) != nil {
		if _, err := serve(n, name, ei.Pid{}, newServer, o); err != nil {
			return err
		}
	}
	n.Expose(name, "start_link", nodes.FuncOf(func(ctx context.Context) (ei.Term, error) {
		parent := nodes.CallerOf(ctx)
		if string(parent.Node) != asker.Of(n, nodes.ConnOf(ctx)) { // there is none, or it is somebody else's
			return nil, &ei.ReasonError{Reason: ei.Atom("badarg")}
		}
		b, err := startChild(ctx, n, name, parent, newServer, o)
		if err == nil {
			return ei.Tuple{ei.Atom("ok"), b.Pid()}, nil
		}
		if !errors.As(err, new(*ei.ReasonError)) {
			err = &ei.ReasonError{Reason: ei.Binary(err.Error())}
		}
		return nil, err
	}))
	return nil
}

// startChild is serve, once nobody else has the name.
func startChild(
	ctx context.Context, n *nodes.Node, name string, parent ei.Pid, newServer func() nodes.Server, o *nodes.MailboxOptions,
) (*nodes.Mailbox, error) {
	for {
		if err := awaitEnd(ctx, n, name); err != nil {
			return nil, err
		}
		if b, err := serve(n, name, parent, newServer, o); !errors.Is(err, nodes.ErrNameTaken) {
			return b, err
		}
	}
}

// awaitEnd waits for the end of the process that has a name, if there is one, in whichever worker
// of the node. The error is already_started if it lives on with its parent.
func awaitEnd(ctx context.Context, n *nodes.Node, name string) error {
	old, err := n.Lookup(ctx, name)
	if errors.Is(err, nodes.ErrNoProc) {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	watch, err := n.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer watch.Close()
	if _, err := watch.Monitor(ctx, old); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, leaving)
	defer cancel()
	if _, err = downOf(soon, watch); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if p, ok := n.Process(old); ok && (p.Parent == ei.Pid{} || slices.Contains(p.LinkedWith, p.Parent)) {
		return &ei.ReasonError{Reason: ei.Tuple{ei.Atom("already_started"), old}}
	}
	_, err = downOf(ctx, watch)
	return err
}

// serve starts a Server as the child of a process.
func serve(n *nodes.Node, name string, parent ei.Pid, newServer func() nodes.Server, o *nodes.MailboxOptions) (*nodes.Mailbox, error) {
	var opts nodes.MailboxOptions
	if o != nil {
		opts = *o
	}
	server := newServer()
	opts.Parent = parent
	opts.TrapExit = opts.TrapExit || server.Terminate != nil
	return n.Serve(name, server, &opts)
}
