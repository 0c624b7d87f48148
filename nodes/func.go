package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/cnode-go/cnode/ei"
)

// A Func is a Go function that remote processes call. Its result, an ei.Term or a Go value (see
// ei.Append; nil is neither), is the result of the call. An error becomes an exception: that of a
// *Raise, else one of class error with reason {go_error, Text}. A panic is one of class error with
// reason {go_panic, Text}; runtime.Goexit ends the process that runs the function, with reason
// killed. ctx ends with the node, when an exit signal ends the process that a spawn, or erpc, has
// made for the function, and when the caller of rpc:call or erpc:call does not wait for the result
// any more: its time is over, or its process or its connection has ended. For casts, and for what
// was spawned, ctx goes on without the caller; but once the node shuts down, it ends with the
// caller's connection. ConnOf(ctx) is that connection, whose Done tells of its end at any time. The
// process that spawn, or erpc, has made for it has links and takes exit signals, but no messages:
// those are dropped. A function that others are to talk to makes a Mailbox, or a Server, and
// returns its pid. An argument that is a list may be an ei.List or, if all its elements are small
// integers, an ei.String: ei.Elements gives both as a list.
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

// apply calls an exposed function; one that does not exist is the exception undef. A panic becomes
// an exception too.
func (n *Node) apply(ctx context.Context, module, name ei.Atom, args []ei.Term) (result ei.Raw, exception *Raise) {
	f, args, exception := n.applied(function{module, name}, args)
	if exception != nil {
		return nil, exception
	}
	module, name = f.module, f.name
	n.procs.turns.calls(turnOf(ctx), f)
	fn := n.exposed(f)
	if fn == nil {
		return nil, undef(module, name, ei.List(args), ei.List{})
	}
	regular := false
	defer func() {
		if p := recover(); p == nil && !regular {
			n.mishap("exposed function called runtime.Goexit", "function", string(module+":"+name), "stack", string(debug.Stack()))
		} else if p != nil {
			n.mishap("exposed function panicked", "function", string(module+":"+name), "panic", p, "stack", string(debug.Stack()))
			result, exception = nil, raised(&Raise{Class: ClassError, Reason: ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(p))}})
		}
	}()
	v, err := fn(ctx, args)
	regular = true
	if err != nil {
		if wrong := impossible(err); wrong != nil {
			n.noTerm("function", string(module+":"+name), wrong)
		}
		return nil, raised(err)
	}
	b, err := ei.Append(nil, v)
	if err != nil {
		n.noTerm("function", string(module+":"+name), err)
		return nil, raised(fmt.Errorf("the result of %s:%s: %w", module, name, err))
	}
	return b, nil
}

// applied unwraps erlang:apply/3 and erlang:apply/2, unless a program has exposed them itself: that
// is how a peer calls, or spawns, an external fun. The exceptions are those of Erlang, where no
// module but those that are exposed is loaded.
func (n *Node) applied(f function, args []ei.Term) (function, []ei.Term, *Raise) {
	wrong := func(reason ei.Term) (function, []ei.Term, *Raise) {
		return f, args, raised(&Raise{Class: ClassError, Reason: reason})
	}
	for f == (function{"erlang", "apply"}) && n.exposed(f) == nil {
		if len(args) != 2 && len(args) != 3 {
			break
		}
		inner, ok := ei.Elements(args[len(args)-1])
		if !ok {
			return wrong(ei.Atom("badarg"))
		}
		if len(args) == 3 {
			module, ok1 := args[0].(ei.Atom)
			name, ok2 := args[1].(ei.Atom)
			if !ok1 || !ok2 {
				return wrong(ei.Atom("badarg"))
			}
			f, args = function{module, name}, inner
			continue
		}
		switch fun := args[0].(type) {
		case ei.Export:
			if int(fun.Arity) != len(inner) {
				return wrong(ei.Tuple{ei.Atom("badarity"), ei.Tuple{fun, ei.List(inner)}})
			}
			f, args = function{fun.Module, fun.Function}, inner
		case ei.Fun:
			return f, args, undef(fun, ei.List(inner), ei.List{})
		default:
			return wrong(ei.Tuple{ei.Atom("badfun"), fun})
		}
	}
	return f, args, nil
}

// undef is the exception of a call of what does not exist.
func undef(frame ...ei.Term) *Raise {
	return &Raise{ClassError, ei.Atom("undef"), ei.List{ei.Tuple(frame)}}
}
