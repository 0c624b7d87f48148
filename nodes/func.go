package nodes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
)

// A Func is a Go function that remote processes call, as a rule made by FuncOf of one that has
// parameters of Go types. Its result, an ei.Term or a Go value (see ei.Append; nil is neither), is
// the result of the call. An error becomes
//
//	                    of a Func                                of Server.Call, Server.On
//	*Raise              that exception                           the reply {error, Reason}
//	*elixir.Exception   that exception, of class error           the reply {error, Exception}
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
// the sender's share of Config.OverflowLimit, from the first byte, and is dropped at the end;
// Mailbox.SetLimit bounds it for all senders. A function of FuncOf that has no parameter for the
// context gets no messages.
//
// Its goroutine runs other functions before and afterwards: a function that has locked it to its
// thread (runtime.LockOSThread) unlocks it, or ends it by runtime.Goexit.
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
	n.funcs.mu.Lock()
	defer n.funcs.mu.Unlock()
	lazymap.Put(&n.funcs.all, function{ei.Atom(module), ei.Atom(name)}, fn)
}

// Exposed lists the names of the functions that are exposed, by their modules.
func (n *Node) Exposed() map[string][]string {
	n.funcs.mu.RLock()
	defer n.funcs.mu.RUnlock()
	by := map[string][]string{}
	for f, fn := range n.funcs.all {
		if fn != nil {
			by[string(f.module)] = append(by[string(f.module)], string(f.name))
		}
	}
	return by
}

// exposed is the Func of that name; nil if there is none.
func (s *functions) exposed(f function) Func {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[f]
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

// impossible tells why Erlang has no such exception as err is; nil if it has, or err is none.
func impossible(err error) error {
	if r := exceptionOf(err); r != nil {
		return r.check()
	}
	return nil
}

// exceptionOf is the exception that err is: a *Raise, or an error with a term, as Elixir's have it;
// nil for another error.
func exceptionOf(err error) *Raise {
	var r *Raise
	var of interface{ Term() ei.Term }
	switch {
	case errors.As(err, &r):
	case errors.As(err, &of):
		r = &Raise{Reason: of.Term()}
	default:
		return nil
	}
	return r.withDefaults()
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
	r := exceptionOf(err)
	if r == nil {
		return goError(err)
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

// FuncOf makes a Func of a function of Go types:
//
//	func([ctx context.Context,] a A, b B, …[, more ...M]) [(R[, bool][, error])]
//
// The arguments of the call are stored in the parameters as ei.Unmarshal does, straight from their
// bytes; a variadic parameter takes all that are left, of 255 in all, which is Erlang's limit. R,
// which may be any type that ei.Append takes, is the result; without R it is ok. With a bool, as of
// a map's index, the result is {ok, R}, or error where it is false: Elixir's Map.fetch. For the
// error see Func; it may be left out.
//
// An argument that its parameter cannot hold is the exception badarg, and another number of
// arguments is undef, both with the call on the stack as in Erlang. A second entry there says why,
// in the place of a file: erl_error:format_exception and Elixir's Exception.format print it.
//
//	{badarg, [{shop, quote, [#{qty => 1.5}], []},
//	          {shop, quote, 1, [{file, "argument 1: ei: order.qty: float 1.5 where an integer is due"}, {line, 0}]}]}
//
// The log of this side has a warning for the first of a function and peer, and at most one a
// minute, with a count, for later ones; so it has, at level Info, for what is not exposed.
//
//	n.Expose("go", "upper", nodes.FuncOf(strings.ToUpper))
//
// A function of exactly the type of Func is used as it is, whatever the options: it gets all
// arguments, as terms.
//
// FuncOf panics if f is no such function, or if one of its types can never be a term: that is a
// fault of the program, and seen when it starts.
func FuncOf(f any, options ...FuncOptions) Func {
	fn, err := funcOf(reflect.ValueOf(f), options)
	if err != nil {
		panic(fmt.Sprintf("nodes.FuncOf: %T: %v", f, err))
	}
	return fn
}

// FuncOptions say how a function of FuncOf reads its arguments, and how its result is written.
type FuncOptions struct {
	// Decode makes reading stricter, or more lenient. With RefuseUnknown a key that a struct has no
	// field for is a wrong argument, in a map and in a keyword list. A struct of yours can say so by
	// its tag, unknown=error, too. Alias is not looked at.
	Decode ei.DecodeOptions
	// Absent is what a nil pointer in the result is, and an ei.Optional that is not there: nil, or
	// undefined, which is truthy in Elixir. What the tag of a struct says goes before.
	//
	// "": what Server.Absent says or, after that, Config.Absent. If these are "", too, it is nil for a
	// caller that can be told to be Elixir, and else undefined. A module Elixir.… or a struct in the
	// request tells that.
	Absent ei.Atom
}

func funcOf(f reflect.Value, options []FuncOptions) (Func, error) {
	if t := reflect.TypeFor[Func](); f.Kind() == reflect.Func && !f.IsNil() && f.CanConvert(t) {
		return f.Convert(t).Interface().(Func), nil
	}
	var o gofunc.Options
	for _, of := range options {
		o = gofunc.Options(of)
	}
	if err := checkAbsent("FuncOptions.Absent", o.Absent); err != nil {
		return nil, err
	}
	return gofunc.Of(f, o)
}

// reasonOfMisuse is that of the exception which the caller of a function gets that was not called.
func reasonOfMisuse(e *gofunc.ArgumentError) ei.Atom {
	if errors.Is(e.Err, errFullCalls) {
		return "system_limit"
	}
	return "badarg"
}

// absentFor is what stands for what is absent in the answer to a request, encoded or not, for a
// function, or a server, that says own.
func (s *functions) absentFor(own, module ei.Atom, request ...ei.Term) ei.EncodeOptions {
	isStruct := func(t ei.Term) bool {
		raw, _ := t.(ei.Raw)
		return bytes.Contains(raw, []byte("\x0a__struct__")) // an atom of 10 bytes
	}
	o := ei.EncodeOptions{Absent: cmp.Or(own, s.n.cfg.Absent)}
	if o.Absent == "" && (strings.HasPrefix(string(module), "Elixir.") || slices.ContainsFunc(request, isStruct)) {
		o.Absent = "nil"
	}
	return o
}

// MethodsOf makes Funcs of all exported methods of a value, as FuncOf does, under their names as
// Erlang writes them: GetPrice is get_price, HTTPStatus is http_status. They are for Server.On, or
// for ExposeMethods. The methods of a pointer are more than those of what it points to, and those
// of embedded types, as of a sync.Mutex, are among them: peers should not get to call these.
// Methods of which FuncOf can make no Func, or that have one name, are an error that names them
// all; so is a value without methods.
func MethodsOf(value any, options ...FuncOptions) (map[string]Func, error) {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.NumMethod() == 0 {
		return nil, fmt.Errorf("a value of type %T has no exported methods", value)
	}
	var wrong []error
	funcs := make(map[string]Func, v.NumMethod())
	for i := range v.NumMethod() {
		method := v.Type().Method(i).Name
		name := ei.SnakeCase(method)
		fn, err := funcOf(v.Method(i), options)
		if err == nil && funcs[name] != nil {
			err = fmt.Errorf("another method is %s, too", name)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("method %s of %T: %w", method, value, err))
		}
		funcs[name] = fn
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return funcs, nil
}

// ExposeMethods exposes all exported methods of a value: GetPrice of a shop becomes
// Module:get_price. See MethodsOf for the names and the errors; after an error nothing is exposed.
func (n *Node) ExposeMethods(module string, value any, options ...FuncOptions) error {
	funcs, err := MethodsOf(value, options...)
	if err != nil {
		return wrap("expose "+module, "", err)
	}
	for name, fn := range funcs {
		n.Expose(module, name, fn)
	}
	return nil
}
