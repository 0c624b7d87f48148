package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// A Func is a Go function that remote processes call, as a rule made by FuncOf of one that has
// parameters of Go types. Its result, an ei.Term or a Go value (see ei.Append; nil is neither), is
// the result of the call. An error becomes
//
//	                    of a Func                                of Server.Call, Server.On
//	*Raise              that exception                           the reply {error, Reason}
//	*ei.ReasonError     the result {error, Reason}               the reply {error, Reason}
//	any other           an exception, error:{go_error, Text}     the reply {error, Text}
//
// and so does one that wraps these. A panic is an exception of class error with reason {go_panic,
// Text}; runtime.Goexit ends the process that runs the function, with reason killed. A Server's
// process ends by either: see there.
//
// ctx ends with the node, when an exit signal ends the process that a spawn, or erpc, has made for
// the function, and when the caller of rpc:call or erpc:call does not wait for the result any more:
// its time is over, or its process or its connection has ended. For casts, and for what was
// spawned, ctx goes on without the caller; but once the node shuts down, it ends with the caller's
// connection. ConnOf(ctx) is that connection, whose Done tells of its end at any time.
//
// The function is a process. MailboxOf(ctx) is its mailbox, which sends and receives, links,
// monitors, traps exits and may get a name; CallerOf(ctx) is the process that has called or spawned
// it, and GroupLeaderOf(ctx) where it is to print (package groupleader does). The process ends with
// the function: reason normal, or the exception; erpc:call's has the result in its reason. Before
// that, its Exit and exit signals end it, and the context. What it does not receive counts towards
// the sender's share of Config.OverflowLimit, from the first byte, and is dropped at the end; a
// function of FuncOf that has no parameter for the context gets no messages.
//
// An argument that is a list may be an ei.List or, if all its elements are small integers, an
// ei.String: ei.Elements gives both as a list.
type Func func(ctx context.Context, args []ei.Term) (any, error)

// A function is the name of a Func.
type function struct{ module, name ei.Atom }

// Expose makes fn callable as Module:Name from other nodes, with any number of arguments: by
// rpc:call, erpc:call and their casts, by spawn, by these with fun Module:Name/Arity, and by the C
// library's ei_rpc. It replaces an earlier one. erlang:apply/2 and apply/3 call what is exposed,
// and need not be exposed themselves. RabbitMQ's rabbit_misc:rpc_call/4 and /5 first ask for
// net_kernel:get_net_ticktime/0, and make the result the caller's own tick time: for their sake
// expose that one, too, with the result ignored (an atom), which changes nothing.
func (n *Node) Expose(module, name string, fn Func) {
	n.procs.mu.Lock()
	defer n.procs.mu.Unlock()
	n.procs.funcs[function{ei.Atom(module), ei.Atom(name)}] = fn
}

// exposed is the Func of that name; nil if there is none.
func (n *Node) exposed(f function) Func {
	n.procs.mu.RLock()
	defer n.procs.mu.RUnlock()
	return n.procs.funcs[f]
}

// A Class is the class of an Erlang exception.
type Class string

// The classes of exceptions.
const (
	ClassError Class = "error" // erlang:error/1
	ClassExit  Class = "exit"  // erlang:exit/1
	ClassThrow Class = "throw" // erlang:throw/1
)

// A Raise is an error that is an Erlang exception. One that Erlang does not have, of another class,
// without a reason, or with a reason or stack that cannot be encoded, is one of class error with
// reason {go_error, Text}.
type Raise struct {
	Class  Class   // error, exit or throw; "" is error
	Reason ei.Term // what was raised
	Stack  ei.Term // of class error: Erlang's own, a list; nil is []
}

// Error gives class and reason.
func (r *Raise) Error() string { return fmt.Sprintf("%s: %v", cmp.Or(r.Class, ClassError), r.Reason) }

// impossible tells why Erlang has no such exception as the *Raise that err is; nil if it has, or
// err is another error.
func impossible(err error) error {
	if r := new(Raise); errors.As(err, &r) {
		return r.withDefaults().check()
	}
	return nil
}

func (r *Raise) withDefaults() *Raise {
	d := &Raise{cmp.Or(r.Class, ClassError), r.Reason, r.Stack}
	if d.Stack == nil {
		d.Stack = ei.List{}
	}
	return d
}

// reasonOf is the reason of an error that is an *ei.ReasonError, and no exception; nil of another.
func reasonOf(err error) ei.Term {
	if r := new(ei.ReasonError); !errors.As(err, new(*Raise)) && errors.As(err, &r) {
		return r.Reason
	}
	return nil
}

// raised turns any error of a Func into an exception.
func raised(err error) *Raise {
	r := new(Raise)
	if !errors.As(err, &r) {
		return goError(err)
	}
	r = r.withDefaults()
	if wrong := r.check(); wrong != nil {
		return goError(fmt.Errorf("%w: %w", err, wrong))
	}
	return r
}

func goError(err error) *Raise {
	return &Raise{ClassError, ei.Tuple{ei.Atom("go_error"), ei.Binary(err.Error())}, ei.List{}}
}

// check tells why Erlang has no such exception.
func (r *Raise) check() error {
	switch r.Class {
	case ClassError, ClassExit, ClassThrow:
	default:
		return fmt.Errorf("no class of exceptions: %q", r.Class)
	}
	if r.Reason == nil {
		return errors.New("an exception without a reason")
	}
	_, err := ei.AppendTerm(nil, ei.Tuple{r.Reason, r.Stack})
	return err
}
