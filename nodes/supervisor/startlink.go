package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
)

// leaving is how long a new process waits for the one that still has its name, and is about to end.
const leaving = 2 * time.Second

// ExposeStart lets the supervisor of an Erlang or Elixir node start a Server here, as its child:
// NAME:start_link() makes a process of that name, linked with the caller, which is its parent, and
// returns {ok, Pid}, or {error, Reason}. The process ends with its parent; it traps exits if it has
// a function Terminate, which the supervisor then waits for.
// docs/how-to/supervise-from-elixir.md has the child specification.
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
		b, err := serve(n, name, parent, newServer, o)
		old := n.Whereis(name)
		if errors.Is(err, nodes.ErrNameTaken) && old == nil { // it has gone since
			b, err = serve(n, name, parent, newServer, o)
		}
		if errors.Is(err, nodes.ErrNameTaken) && old != nil { // its parent may just have gone
			wait := time.NewTimer(leaving)
			defer wait.Stop()
			select {
			case <-old.Done():
				b, err = serve(n, name, parent, newServer, o)
			case <-wait.C:
				return nil, &ei.ReasonError{Reason: ei.Tuple{ei.Atom("already_started"), old.Pid()}}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if err != nil {
			return nil, &ei.ReasonError{Reason: ei.Binary(fmt.Sprint(err))}
		}
		return ei.Tuple{ei.Atom("ok"), b.Pid()}, nil
	}))
	return nil
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
