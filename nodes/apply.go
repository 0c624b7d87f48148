package nodes

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/permit"
	"github.com/cnode-go/cnode/nodes/internal/alike"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

// functions are those of a node that are exposed.
type functions struct {
	n   *Node
	mu  sync.RWMutex
	all map[function]Func
}

// apply calls an exposed function, MayCall or MaySpawn, and appends its result to b; one that does
// not exist is the exception undef. A panic becomes an exception too. The arguments may still be
// encoded (ei.Raw), and stay so for a function that reads them itself.
func (s *functions) apply(
	ctx context.Context, op Permission, module, name ei.Atom, args []ei.Term, b []byte,
) (result ei.Raw, exception *Raise) {
	a := application{s: s, t: runOf(ctx), op: op, outcome: metrics.OutcomeFailed}
	if a.f, a.args, exception = s.applied(function{module, name}, args); exception != nil {
		return nil, exception
	}
	if answer := s.answerTool(a.t.caller(), op, a.f, a.args); answer != nil {
		b, err := ei.AppendTerm(b, answer)
		if err != nil {
			return nil, a.f.refused(ei.Atom("badarg"), a.args, "")
		}
		return b, nil
	}
	if exception = a.resolve(); exception != nil {
		return nil, exception
	}
	ctx = s.n.label(ctx, a.t.madeProcess(), a.t.caller(), a.f)
	ctx, r := s.n.meters.measureFunction(ctx, a.t.caller(), a.f, a.fn)
	defer func() { endApplied(r, a.outcome, exception) }()
	if exception = a.admit(); exception != nil {
		a.outcome = metrics.OutcomeRefused
		return nil, exception
	}
	return a.run(ctx, b)
}

// An application is one call of an exposed function.
type application struct {
	s       *functions
	t       *run
	op      Permission
	f       function
	args    []ei.Term
	fn      Func             // nil: there is none
	results ei.EncodeOptions // how its result is encoded
	outcome metrics.Outcome
}

// resolve finds the function, if the caller may have it called.
func (a *application) resolve() *Raise {
	c := a.t.caller()
	if !a.s.n.rights.mayRun(c, a.op, a.f, len(a.args)) {
		return noAccess(a.f, len(a.args))
	}
	a.s.n.procs.runs.calls(a.t.work(), a.f, len(a.args))
	if a.fn = a.s.exposed(a.f); a.fn == nil && a.f.name == "module_info" {
		a.fn = a.s.moduleInfo(c, a.f.module)
	}
	return nil
}

// admit refuses a call of what does not exist, or with arguments that cannot be read.
func (a *application) admit() *Raise {
	a.results = a.s.absentFor("", a.f.module, a.args...)
	if a.fn == nil || !gofunc.IsTyped(a.fn) {
		switch err := a.t.decode(a.args); {
		case errors.Is(err, errFullCalls):
			return a.f.refusedGiven(ei.Int(len(a.args)), ei.Atom("system_limit"), len(a.args), err.Error())
		case err != nil:
			a.s.n.faults.undecodable(a.t.caller(), "arguments", err)
			return &Raise{ClassExit, ei.Atom("badarg"), ei.List{}}
		}
	}
	if a.fn == nil {
		return a.s.undefined(a.t, a.op, a.f, a.args, nil)
	}
	return nil
}

// run runs the function, and appends its result to b.
func (a *application) run(ctx context.Context, b []byte) (result ei.Raw, exception *Raise) {
	if gofunc.IsBlind(a.fn) {
		a.t.madeProcess().deafen()
	}
	regular := false
	defer func() {
		p := recover()
		if p != nil || !regular {
			result, exception = nil, a.broken(p, exception)
		}
		if exception != nil && otp.IsEmptyList(exception.Stack) {
			exception.Stack = ei.List{ei.Tuple{a.f.module, a.f.name, ei.Int(len(a.args)), ei.List{}}}
		}
	}()
	v, err := a.fn(ctx, a.args)
	regular = true
	if wrong, ok := err.(*gofunc.ArgumentError); ok {
		return nil, a.misused(wrong)
	}
	failed := err
	if err != nil {
		reason := reasonOf(err)
		if reason == nil {
			if wrong := impossible(err); wrong != nil {
				a.s.n.faults.noTerm(a.t.caller(), "function", a.text(), wrong)
			}
			return nil, raised(err)
		}
		v = ei.Tuple{ei.Atom("error"), reason}
	}
	if result, err = a.encode(v, b); err != nil {
		a.s.n.faults.noTerm(a.t.caller(), "function", a.text(), err)
		return nil, raised(fmt.Errorf("the result of %s: %w", a.text(), err))
	}
	if failed == nil {
		a.outcome = metrics.OutcomeOK
	}
	return result, nil
}

// encode appends a result to b.
func (a *application) encode(v any, b []byte) (ei.Raw, error) {
	before := len(b)
	b, err := a.results.Append(b, v)
	if err == nil {
		err = link.RawFault(v, b[before:])
	}
	return b, err
}

// broken is the exception of a function that has panicked, or has ended its goroutine.
func (a *application) broken(panicked any, exception *Raise) *Raise {
	a.outcome = metrics.OutcomePanicked
	if panicked == nil {
		a.s.n.faults.mishap("exposed function called runtime.Goexit", "function", a.text(), "stack", string(debug.Stack()))
		return exception
	}
	a.s.n.faults.mishap("exposed function panicked", "function", a.text(), "panic", panicked, "stack", string(debug.Stack()))
	return raised(&Raise{Class: ClassError, Reason: ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(panicked))}})
}

// misused is the exception of a function that cannot be called with such arguments.
func (a *application) misused(wrong *gofunc.ArgumentError) *Raise {
	a.outcome = metrics.OutcomeRefused
	if wrong.Count {
		return a.s.undefined(a.t, a.op, a.f, a.args, wrong)
	}
	a.t.work().complain()
	a.s.n.faults.misused(a.t.caller(), a.text(), wrong)
	return a.f.refused(reasonOfMisuse(wrong), a.args, wrong.Error())
}

// text names the function.
func (a *application) text() string { return a.f.with(len(a.args)) }

// refused is the exception of a function that was not called, with the call on the stack; without
// the arguments if there is much of them, or if the caller would not take them back. Why, if there
// is more to say than the reason does, is in a second entry, as its file: there erl_error and
// Elixir's Exception print it. The map of an error_info would be read by a module of the caller's
// node, and none of OTP passes a text on that both can take.
func (f function) refused(reason ei.Term, args []ei.Term, why string) *Raise {
	given := ei.Term(ei.List(args))
	if !otp.AreShort(args) || otp.Decode(args) != nil {
		given = ei.Int(len(args))
	}
	return f.refusedGiven(given, reason, len(args), why)
}

// refusedGiven is refused, with the arguments, or how many they are, as the stack has them.
func (f function) refusedGiven(given, reason ei.Term, arity int, why string) *Raise {
	call := ei.Tuple{f.module, f.name, given, ei.List{}}
	r := &Raise{ClassError, reason, ei.List{call}}
	if why != "" {
		at := ei.List{ei.Tuple{ei.Atom("file"), otp.Charlist(why)}, ei.Tuple{ei.Atom("line"), ei.Int(0)}}
		r.Stack = ei.List{call, ei.Tuple{f.module, f.name, ei.Int(arity), at}}
	}
	return r
}

// undefined is the exception of a call of what is not exposed or, if why is not nil, not with so
// many arguments.
func (s *functions) undefined(t *run, op Permission, f function, args []ei.Term, why error) *Raise {
	what, hint := f.with(len(args)), ""
	if meant := s.meant(t.caller(), op, f, len(args)); meant != "" && meant != what {
		hint = "did you mean " + meant + "?"
	}
	t.work().complain()
	switch {
	case why == nil:
		s.n.faults.missing(t.caller(), what, hint)
	case hint == "":
		s.n.faults.misused(t.caller(), what, why)
	default:
		s.n.faults.misused(t.caller(), what, fmt.Errorf("%w; %s", why, hint))
	}
	return f.refused(ei.Atom("undef"), args, hint)
}

// meant is the function whose name is most like that of one which does not exist, of those that the
// peer may call; "" if none is much like it.
func (s *functions) meant(c *Conn, op Permission, f function, arity int) (meant string) {
	var found []function
	s.mu.RLock()
	for g := range s.all {
		if alike.Modules(string(f.module), string(g.module)) && alike.Names(string(f.name), string(g.name)) {
			found = append(found, g)
		}
	}
	s.mu.RUnlock()
	for _, g := range found {
		fn := s.exposed(g)
		takes := gofunc.Arity(fn, arity)
		if c = c.toOthers(); c != nil && s.n.rights.rules != nil &&
			!s.n.rights.rules.Function(c.Name(), permit.Op(op), string(g.module), string(g.name), takes) {
			continue
		}
		if text := g.with(takes); meant == "" || g == f || text < meant {
			meant = text
		}
		if g == f {
			break
		}
	}
	return meant
}

// applyNext applies the module, the function and the arguments that are the next three terms.
func (s *functions) applyNext(ctx context.Context, c *ei.Cursor, b []byte) (ei.Raw, *Raise) {
	at := *c
	module, err1 := c.Atom()
	name, err2 := c.Atom()
	list, err3 := c.Raw()
	if err1 == nil && err2 == nil && err3 == nil {
		if args, ok := otp.Elements(list); ok {
			return s.apply(ctx, MayCall, module, name, args, b)
		}
	}
	mfa, _ := otp.Next(&at, 3)
	return nil, function{"erlang", "apply"}.refused(ei.Atom("badarg"), mfa, "")
}

// applied unwraps erlang:apply/3 and erlang:apply/2, unless a program has exposed them itself: that
// is how a peer calls, or spawns, an external fun. The exceptions are those of Erlang, where no
// module but those that are exposed is loaded.
func (s *functions) applied(f function, args []ei.Term) (function, []ei.Term, *Raise) {
	wrong := func(reason ei.Term) (function, []ei.Term, *Raise) {
		return f, args, f.refused(reason, args, "")
	}
	for deep := false; f == (function{"erlang", "apply"}) && s.exposed(f) == nil; deep = true {
		if len(args) != 2 && len(args) != 3 {
			break
		}
		// what is in an apply within an apply is not skipped at every level
		if deep && otp.Decode(args) != nil {
			return wrong(ei.Atom("badarg"))
		}
		inner, ok := otp.Elements(args[len(args)-1])
		if !ok {
			return wrong(ei.Atom("badarg"))
		}
		if len(args) == 3 {
			module, ok1 := otp.AtomOf(args[0])
			name, ok2 := otp.AtomOf(args[1])
			if !ok1 || !ok2 {
				return wrong(ei.Atom("badarg"))
			}
			f, args = function{module, name}, inner
			continue
		}
		if otp.Decode(args[:1]) != nil {
			return wrong(ei.Atom("badarg"))
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

// What tools of Erlang and Elixir ask of a node first, and do not reckon with being refused: an
// exception ends the user's own node, or leaves the tool waiting for ever. So these have an answer
// whatever the rules say, and whichever packages a program has switched on. They tell nothing that
// the peer may not know.

// answerTool answers what shells ask before they begin (erl -remsh and iex --remsh, and r of their
// ^G), unless the program has a function for it that the peer may call; nil: it is something else.
// What a peer may call nothing of is not there, and only a shell that is there has a banner.
func (s *functions) answerTool(c *Conn, op Permission, f function, args []ei.Term) ei.Term {
	switch f {
	case function{"code", "ensure_loaded"}, function{"erlang", "system_info"}, function{"net_kernel", "get_net_ticktime"},
		function{"application", "get_env"}:
	default:
		return nil
	}
	if s.exposed(f) != nil && s.lets(c, op, f, len(args)) {
		return nil
	}
	var first ei.Atom
	if len(args) > 0 {
		first, _ = otp.AtomOf(args[0])
	}
	switch {
	case f.name == "ensure_loaded" && len(args) == 1:
		if first != "" && s.offers(c, first) {
			return ei.Tuple{ei.Atom("module"), first}
		}
		return ei.Tuple{ei.Atom("error"), ei.Atom("nofile")}
	case f.name == "system_info" && len(args) == 1 && first == "otp_release": // by r, in any case
		return ei.String("0") // a number to those who ask: none of OTP's
	case !s.offers(c, "shell") && !s.offers(c, "iex") && !s.offers(c, "Elixir.IEx"):
		return nil
	case f.name == "system_info" && len(args) == 1 && first == "system_version":
		return ei.String("Go")
	case f.name == "get_net_ticktime" && len(args) == 0: // which the user's node takes over
		return ei.Int(60)
	case f.name == "get_env" && len(args) == 3 && first == "stdlib": // its shell_slogan
		return args[2]
	}
	return nil
}

// lets is mayRun without the refusal.
func (s *functions) lets(c *Conn, op Permission, f function, arity int) bool {
	c = c.toOthers()
	return c == nil || s.n.Allows(c.Name(), op, string(f.module), string(f.name), arity)
}

// offers tells whether there is a function of a module that a peer may call, or spawn.
func (s *functions) offers(c *Conn, module ei.Atom) bool { return len(s.offered(c, module)) > 0 }

// offered are the functions of a module that a peer may call, or spawn, with the least number of
// arguments that each of them takes.
func (s *functions) offered(c *Conn, module ei.Atom) map[ei.Atom]int {
	fns, all := map[ei.Atom]Func{}, map[ei.Atom]int{}
	s.mu.RLock()
	for f, fn := range s.all {
		if f.module == module && fn != nil {
			fns[f.name] = fn
		}
	}
	s.mu.RUnlock()
	may := func(name ei.Atom, arity int) bool {
		f := function{module, name}
		return s.lets(c, MayCall, f, arity) || s.lets(c, MaySpawn, f, arity)
	}
	for name, fn := range fns {
		for given, last := 0, -1; given <= otp.MaxArity; given++ {
			takes := gofunc.Arity(fn, given)
			if takes != last && may(name, takes) { // not as with fewer
				all[name] = takes
				break
			}
			last = takes
		}
	}
	return all
}

// moduleInfo is the function module_info, with one argument or none, that every module of Erlang
// has; nil: there is nothing in the module that the peer may call.
func (s *functions) moduleInfo(c *Conn, module ei.Atom) Func {
	offered := s.offered(c, module)
	if len(offered) == 0 {
		return nil
	}
	return func(_ context.Context, args []ei.Term) (any, error) {
		if len(args) > 1 {
			return nil, &gofunc.ArgumentError{Count: true, Err: errors.New("it takes one argument, or none")}
		}
		if info := otp.ModuleInfo(module, offered, args); info != nil {
			return info, nil
		}
		return nil, &Raise{Reason: ei.Atom("badarg")}
	}
}

// releaseTool tells whoever waits for a process that cannot run what it has been asked for: for
// dbg:do_relay, of dbg:n and ttb, dbg at the peer waits for {started, _} and nothing else. Then it
// sees the process end.
func releaseTool(ctx context.Context, f function, args []ei.Term) {
	if f != (function{"dbg", "do_relay"}) || len(args) < 2 || otp.Decode(args) != nil {
		return
	}
	self := MailboxOf(ctx)
	parent, ok := args[len(args)-2].(ei.Pid)
	if c := ConnOf(ctx); !ok || c == nil || string(parent.Node) != c.Name() {
		return
	}
	started := ei.Tuple{ei.Atom("started"), self.Pid()}
	if len(args) > 2 { // of a session, as of OTP 27
		started = append(started, ei.Atom("undefined"))
	}
	_ = self.Send(NoConnect(transport.NoWait()), parent, started)
}
