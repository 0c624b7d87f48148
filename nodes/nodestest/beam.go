package nodestest

import (
	"context"
	"errors"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A BEAM is a node that plays an Erlang one: visible, it calls and is called, and what it sends has
// the form that Erlang gives it (see Term). What it does not expose is undef there, too.
type BEAM struct {
	net   *Net
	alive string

	mu      sync.Mutex
	node    *nodes.Node // nil: it is down
	exposed map[[2]string]nodes.Func
	served  map[string]nodes.Func
}

// ErrDown: the BEAM that is to do something has been stopped.
var ErrDown = errors.New("nodestest: the BEAM is down")

// BEAM starts an Erlang node alive@test, which ends with the test.
func (n *Net) BEAM(alive string) *BEAM {
	n.t.Helper()
	x := &BEAM{net: n, alive: alive, exposed: map[[2]string]nodes.Func{}, served: map[string]nodes.Func{}}
	x.Start()
	return x
}

// Name is alive@test.
func (x *BEAM) Name() string { return x.alive + "@" + host }

// Node is what plays the BEAM, for all that BEAM has no method for: mailboxes, links, monitors. It
// is nil after Stop, and another one after each Start. What goes out by its own methods has the
// form that Go gives it, unless it is made by Term.
func (x *BEAM) Node() *nodes.Node {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.node
}

// Start starts the BEAM again after Stop, with the functions and processes that it had. It is
// another incarnation: pids of the previous one are dead.
func (x *BEAM) Start() {
	x.net.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.node != nil {
		return
	}
	x.node = x.net.Node(x.alive, func(cfg *nodes.Config) {
		cfg.Visible = true
		cfg.Setup = func(node *nodes.Node) error {
			for mf, f := range x.exposed {
				node.Expose(mf[0], mf[1], beamly(f))
			}
			for name, f := range x.served {
				if err := serve(node, name, f); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

// Stop ends the BEAM as a kill does: its connections end, and nobody finds it until Start.
func (x *BEAM) Stop() {
	x.mu.Lock()
	node := x.node
	x.node = nil
	x.mu.Unlock()
	if node != nil {
		node.Close()
	}
}

// Expose makes a function of the BEAM, for rpc:call, erpc:call and spawn: Returns, Raises, Hangs,
// or any other.
func (x *BEAM) Expose(module, function string, f nodes.Func) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.exposed[[2]string{module, function}] = f
	if x.node != nil {
		x.node.Expose(module, function, beamly(f))
	}
}

// Serve makes a gen_server of the BEAM, registered under a name, whose handle_call is f: its
// argument is the request, its result the reply. While f runs, other calls wait. If it raises, the
// process ends with that reason, which the caller exits with, and is started again, as by a
// supervisor. Another Serve of the name changes f.
func (x *BEAM) Serve(name string, f nodes.Func) {
	x.net.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.served[name] = f
	if x.node == nil {
		return
	}
	if old := x.node.Whereis(name); old != nil {
		old.Close()
	}
	if err := serve(x.node, name, f); err != nil {
		x.net.t.Fatalf("nodestest: %s serves %s: %v", x.Name(), name, err)
	}
}

func serve(node *nodes.Node, name string, f nodes.Func) error {
	_, err := node.Serve(name, nodes.Server{Call: func(ctx context.Context, c *nodes.Call) (any, error) {
		v, err := beamly(f)(ctx, []ei.Term{c.Request})
		if err == nil {
			return v, nil
		}
		if ctx.Err() != nil { // the process has ended
			return nodes.NoReply, nil
		}
		self := nodes.MailboxOf(ctx)
		_ = node.Unregister(ctx, name)
		if err := serve(node, name, f); err != nil {
			node.Logger().Warn("nodestest: a process is not started again", "name", name, "error", err)
		}
		self.Exit(reasonOf(err))
		return nodes.NoReply, nil
	}}, nil)
	return err
}

// reasonOf is the exit reason of a process in which err was raised.
func reasonOf(err error) ei.Term {
	r := new(nodes.Raise)
	switch {
	case !errors.As(err, &r):
		return ei.Tuple{ei.Tuple{ei.Atom("go_error"), ei.Binary(err.Error())}, ei.List{}}
	case r.Class == nodes.ClassExit:
		return r.Reason
	case r.Class == nodes.ClassThrow:
		return ei.Tuple{ei.Atom("bad_return_value"), r.Reason} // what handle_call throws is what it returns
	case r.Stack == nil:
		return ei.Tuple{r.Reason, ei.List{}}
	}
	return ei.Tuple{r.Reason, r.Stack}
}

// Call is gen_server:call({Name, Node}, Request), with the request in Erlang's text. It waits until
// the test's context ends, and for 5 s, as Erlang does.
func (x *BEAM) Call(node, name, request string) (ei.Term, error) {
	return x.do(func(ctx context.Context, n *nodes.Node, args ...any) (ei.Term, error) {
		return n.CallName(ctx, node, name, args[0])
	}, request)
}

// RPC is rpc:call(Node, Module, Function, Arguments), with each argument in Erlang's text. It waits
// as Call does.
func (x *BEAM) RPC(node, module, function string, args ...string) (ei.Term, error) {
	return x.do(func(ctx context.Context, n *nodes.Node, args ...any) (ei.Term, error) {
		return n.RPC(ctx, node, module, function, args...)
	}, args...)
}

// Send is {Name, Node} ! Message, with the message in Erlang's text.
func (x *BEAM) Send(node, name, message string) error {
	_, err := x.do(func(ctx context.Context, n *nodes.Node, args ...any) (ei.Term, error) {
		box, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		defer box.Close()
		return nil, box.SendName(ctx, node, name, args[0])
	}, message)
	return err
}

func (x *BEAM) do(f func(ctx context.Context, n *nodes.Node, args ...any) (ei.Term, error), texts ...string) (ei.Term, error) {
	n := x.Node()
	if n == nil {
		return nil, ErrDown
	}
	args := make([]any, len(texts))
	for i, text := range texts {
		term, err := parse(text)
		if err != nil {
			return nil, err
		}
		args[i] = term
	}
	ctx, cancel := context.WithTimeout(x.net.t.Context(), callLimit)
	defer cancel()
	return f(ctx, n, args...)
}
