package nodes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/alike"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/nodes/permit"
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
	f, args, exception := s.applied(function{module, name}, args)
	if exception != nil {
		return nil, exception
	}
	t := runOf(ctx)
	if answer := s.answerTool(t.caller(), op, f, args); answer != nil {
		b, err := ei.AppendTerm(b, answer)
		if err != nil {
			return nil, f.refused(ei.Atom("badarg"), args, "")
		}
		return b, nil
	}
	if !s.n.rights.mayRun(t.caller(), op, f, len(args)) {
		return nil, noAccess(f, len(args))
	}
	what := func() string { return f.with(len(args)) }
	s.n.procs.runs.calls(t.work(), f, len(args))
	ctx = s.n.label(ctx, t.madeProcess(), t.caller(), f)
	fn := s.exposed(f)
	if fn == nil && f.name == "module_info" {
		fn = s.moduleInfo(t.caller(), f.module)
	}
	ctx, r := s.n.meters.measureFunction(ctx, t.caller(), f, fn)
	outcome := metrics.OutcomeFailed
	defer func() { r.endApplied(outcome, exception) }()
	encode := s.absentFor("", f.module, args...)
	if fn == nil || !fn.isTyped() {
		if err := t.decode(args); err != nil {
			outcome = metrics.OutcomeRefused
			if errors.Is(err, errFullCalls) {
				return nil, f.refusedGiven(ei.Int(len(args)), ei.Atom("system_limit"), len(args), err.Error())
			}
			s.n.faults.undecodable(t.caller(), "arguments", err)
			return nil, &Raise{ClassExit, ei.Atom("badarg"), ei.List{}}
		}
	}
	if fn == nil {
		outcome = metrics.OutcomeRefused
		return nil, s.undefined(t, op, f, args, nil)
	}
	if fn.isBlind() {
		t.madeProcess().deafen()
	}
	regular := false
	defer func() {
		p := recover()
		if p != nil || !regular {
			outcome = metrics.OutcomePanicked
		}
		if p == nil && !regular {
			s.n.faults.mishap("exposed function called runtime.Goexit", "function", what(), "stack", string(debug.Stack()))
		} else if p != nil {
			s.n.faults.mishap("exposed function panicked", "function", what(), "panic", p, "stack", string(debug.Stack()))
			result, exception = nil, raised(&Raise{Class: ClassError, Reason: ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(p))}})
		}
		if exception != nil && otp.IsEmptyList(exception.Stack) {
			exception.Stack = ei.List{ei.Tuple{f.module, f.name, ei.Int(len(args)), ei.List{}}}
		}
	}()
	v, err := fn(ctx, args)
	regular = true
	failed := err
	if wrong, ok := err.(*argumentError); ok {
		outcome = metrics.OutcomeRefused
		if wrong.count {
			return nil, s.undefined(t, op, f, args, wrong)
		}
		t.work().complain()
		s.n.faults.misused(t.caller(), what(), wrong)
		return nil, f.refused(wrong.reason(), args, wrong.Error())
	}
	if err != nil {
		if reason := reasonOf(err); reason != nil {
			v, err = ei.Tuple{ei.Atom("error"), reason}, nil
		}
	}
	if err != nil {
		if wrong := impossible(err); wrong != nil {
			s.n.faults.noTerm(t.caller(), "function", what(), wrong)
		}
		return nil, raised(err)
	}
	before := len(b)
	if b, err = encode.Append(b, v); err == nil {
		err = link.RawFault(v, b[before:])
	}
	if err != nil {
		s.n.faults.noTerm(t.caller(), "function", what(), err)
		return nil, raised(fmt.Errorf("the result of %s: %w", what(), err))
	}
	if failed == nil {
		outcome = metrics.OutcomeOK
	}
	return b, nil
}

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
		takes := fn.arity(arity)
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
			takes := fn.arity(given)
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
	exports := ei.List{ei.Tuple{ei.Atom("module_info"), ei.Int(0)}, ei.Tuple{ei.Atom("module_info"), ei.Int(1)}}
	for _, name := range slices.Sorted(maps.Keys(offered)) {
		exports = append(exports, ei.Tuple{name, ei.Int(offered[name])})
	}
	compiled := ei.List{ei.Tuple{ei.Atom("version"), otp.Charlist(runtime.Version())}}
	info := ei.List{
		ei.Tuple{ei.Atom("module"), module}, ei.Tuple{ei.Atom("exports"), exports}, ei.Tuple{ei.Atom("attributes"), ei.List{}},
		ei.Tuple{ei.Atom("compile"), compiled},
	}
	return func(_ context.Context, args []ei.Term) (any, error) {
		switch {
		case len(args) == 0:
			return info, nil
		case len(args) > 1:
			return nil, &argumentError{count: true, err: errors.New("it takes one argument, or none")}
		case args[0] == ei.Atom("functions"):
			return exports, nil
		}
		for _, pair := range info {
			if p := pair.(ei.Tuple); args[0] == p[0] {
				return p[1], nil
			}
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
