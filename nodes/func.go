package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
)

// A Func is a Go function that remote processes call. Its result, an ei.Term or a Go value (see ei.Append; nil is neither), is the result
// of the call. An error becomes an exception: that of a *Raise, else one of class error with reason {go_error, Text}. A panic is one of
// class error with reason {go_panic, Text}; runtime.Goexit ends the process that runs the function, with reason killed. ctx ends with the
// node, and when an exit signal ends the process that a spawn, or erpc, has made for the function. It does not end when a caller no longer
// waits; but once the node shuts down, it ends with the caller's connection. ConnOf(ctx) is that connection, whose Done tells of its end at
// any time. The process that spawn, or erpc, has made for it has links and takes exit signals, but no messages: those are dropped. A
// function that others are to talk to makes a Mailbox, or a Server, and returns its pid. An argument that is a list may be an ei.List or,
// if all its elements are small integers, an ei.String: ei.Elements gives both as a list.
type Func func(ctx context.Context, args []ei.Term) (any, error)

// A function is the name of a Func.
type function struct{ module, name ei.Atom }

// Expose makes fn callable as Module:Name from other nodes, with any number of arguments: by rpc:call, erpc:call and their casts, by
// spawn, by these with fun Module:Name/Arity, and by the C library's ei_rpc. It replaces an earlier one. erlang:apply/2 and apply/3 call
// what is exposed, and need not be exposed themselves. RabbitMQ's rabbit_misc:rpc_call/4 and /5 first ask for
// net_kernel:get_net_ticktime/0, and make the result the caller's own tick time: for their sake expose that one, too, with the result
// ignored (an atom), which changes nothing.
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

// A Raise is an error that is an Erlang exception. One that Erlang does not have, of another class, without a reason, or with a reason or
// stack that cannot be encoded, is one of class error with reason {go_error, Text}.
type Raise struct {
	Class  Class   // error, exit or throw; "" is error
	Reason ei.Term // what was raised
	Stack  ei.Term // of class error: Erlang's own, a list; nil is []
}

// Error gives class and reason.
func (r *Raise) Error() string { return fmt.Sprintf("%s: %v", cmp.Or(r.Class, ClassError), r.Reason) }

// raised turns any error of a Func into an exception.
func raised(err error) *Raise {
	r := new(Raise)
	if !errors.As(err, &r) {
		return goError(err)
	}
	r = &Raise{cmp.Or(r.Class, ClassError), r.Reason, r.Stack}
	if r.Stack == nil {
		r.Stack = ei.List{}
	}
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

// A turn is one run of a function for a message, a Func or a Server's function. The function's context carries it.
type turn struct {
	conn *Conn    // that the message came over; nil: it is from this node
	self *Mailbox // the Server's mailbox; nil for a Func
	over atomic.Bool

	calls function // the Func's name; guarded by remoteTurns
}

type turnKey struct{}

func (t *turn) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, turnKey{}, t)
}

// turnOf is the turn that ctx carries; nil if it carries none.
func turnOf(ctx context.Context) *turn {
	t, _ := ctx.Value(turnKey{}).(*turn)
	return t
}

// ConnOf is the connection over which a Func, or a Server's function, was called; nil for a caller on this node.
func ConnOf(ctx context.Context) *Conn {
	if t := turnOf(ctx); t != nil {
		return t.conn.toOthers()
	}
	return nil
}

// MailboxOf is the Server's process whose function runs with ctx: to send from, to monitor, to Exit. It is nil for any other context.
func MailboxOf(ctx context.Context) *Mailbox {
	if t := turnOf(ctx); t != nil {
		return t.self
	}
	return nil
}

// callerGone tells whether the function that runs with ctx was called over a connection that has ended, so that nobody awaits its result.
func callerGone(ctx context.Context) bool {
	t := turnOf(ctx)
	return t != nil && t.conn != nil && t.conn.lost()
}

// callsSelf tells whether the call that is made with ctx is one of a Server's process to itself.
func callsSelf(ctx context.Context, to target) bool {
	t := turnOf(ctx)
	if t == nil || t.self == nil || t.over.Load() || to.node != t.self.n.Name() {
		return false
	}
	return to.pid == t.self.pid || to.name != "" && t.self.n.procs.named(to.name) == t.self
}

// runsWith tells whether ctx is that of a function which the process's Server is running.
func (b *Mailbox) runsWith(ctx context.Context) bool {
	t := turnOf(ctx)
	return t != nil && t.self == b && !t.over.Load()
}

// apply calls an exposed function; one that does not exist is the exception undef. A panic becomes an exception too.
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
		return nil, raised(err)
	}
	if v == nil {
		return nil, raised(fmt.Errorf("the result of %s:%s is nil, which is no term: return ei.Atom(\"ok\"), say", module, name))
	}
	b, err := ei.Append(nil, v)
	if err != nil {
		return nil, raised(fmt.Errorf("result of %s:%s: %w", module, name, err))
	}
	return b, nil
}

// until returns a context that ends when ctx ends or over is closed.
func (n *Node) until(ctx context.Context, over <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	n.goroutines.Run(func() {
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// admits tells whether a request of a peer may wait for a place of Config.MaxCalls; see shares.admits.
func (n *Node) admits(c *Conn, bytes int) bool {
	if c == nil || n.procs.calls.admits(c, bytes, n.ctx.Done()) {
		return true
	}
	if c.Err() == nil {
		c.complain(fullCalls, "calls refused", errFullCalls)
	}
	return false
}

// work runs f on a goroutine of its own, in a place of Config.MaxCalls. work does not wait for a place: f is queued until its peer gets
// one, and counts as running from now on; bytes is the memory that it holds meanwhile. work is false when the node drains (see busy); then,
// or when the node closes, f does not run.
func (n *Node) work(c *Conn, bytes int, f func(ctx context.Context)) bool {
	if !n.procs.busy(c == nil) {
		return false
	}
	peer, t := "", &turn{conn: c}
	if c != nil {
		peer = c.peer.Name
		c.works.Enter()
	}
	done := func() {
		if c != nil {
			c.works.Leave()
		}
		n.procs.running.Leave()
	}
	begin := func() bool {
		began := n.background(func() {
			defer done()
			defer n.procs.calls.put(peer)
			ctx, cancel := context.WithCancel(n.ctx)
			defer cancel()
			n.procs.turns.begin(t, cancel)
			defer n.procs.turns.end(t)
			f(t.within(ctx))
		})
		if !began {
			done()
		}
		return began
	}
	if n.procs.calls.take(peer, job{cost: bytes, begin: begin}) > longWait && c != nil {
		c.complain(slowCalls, "calls wait", errSlowCalls)
	}
	return true
}
