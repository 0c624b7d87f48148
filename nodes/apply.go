package nodes

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/cnode-go/cnode/ei"
)

// apply calls an exposed function, OpCall or OpSpawn; one that does not exist is the exception
// undef. A panic becomes an exception too. The arguments may still be encoded (ei.Raw), and stay so
// for a function that reads them itself.
func (n *Node) apply(ctx context.Context, op Op, module, name ei.Atom, args []ei.Term) (result ei.Raw, exception *Raise) {
	f, args, exception := n.applied(function{module, name}, args)
	if exception != nil {
		return nil, exception
	}
	if !n.mayRun(turnOf(ctx).caller(), op, f, len(args)) {
		return nil, noAccess(f, len(args))
	}
	module, name = f.module, f.name
	n.procs.turns.calls(turnOf(ctx), f, len(args))
	ctx = n.label(ctx, turnOf(ctx).madeProcess(), turnOf(ctx).caller(), f)
	fn := n.exposed(f)
	if fn == nil || !fn.isTyped() {
		if err := decode(args); err != nil {
			n.undecodable(turnOf(ctx).caller(), "arguments", err)
			return nil, &Raise{ClassExit, ei.Atom("badarg"), ei.List{}}
		}
	}
	if fn != nil && fn.isBlind() {
		turnOf(ctx).madeProcess().deafen()
	}
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
	if wrong, ok := err.(*argumentError); ok {
		n.misused(turnOf(ctx).caller(), true, string(module+":"+name), wrong)
		return nil, wrong.raised(module, name, ei.List(args), ei.List{})
	}
	if reason := reasonOf(err); reason != nil {
		v, err = ei.Tuple{ei.Atom("error"), reason}, nil
	}
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
	for deep := false; f == (function{"erlang", "apply"}) && n.exposed(f) == nil; deep = true {
		if len(args) != 2 && len(args) != 3 {
			break
		}
		// what is in an apply within an apply is not skipped at every level
		if deep && decode(args) != nil {
			return wrong(ei.Atom("badarg"))
		}
		inner, ok := elements(args[len(args)-1])
		if !ok {
			return wrong(ei.Atom("badarg"))
		}
		if len(args) == 3 {
			module, ok1 := atom(args[0])
			name, ok2 := atom(args[1])
			if !ok1 || !ok2 {
				return wrong(ei.Atom("badarg"))
			}
			f, args = function{module, name}, inner
			continue
		}
		if decode(args[:1]) != nil {
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

// decode decodes the terms that are still encoded.
func decode(terms []ei.Term) (err error) {
	for i, t := range terms {
		if raw, ok := t.(ei.Raw); ok {
			if terms[i], err = raw.Decode(); err != nil {
				return err
			}
		}
	}
	return nil
}

// atom reads an atom, which may be encoded.
func atom(t ei.Term) (a ei.Atom, ok bool) {
	if raw, ok := t.(ei.Raw); ok {
		c := ei.NewCursor(raw)
		a, err := c.Atom()
		return a, err == nil
	}
	a, ok = t.(ei.Atom)
	return a, ok
}

// elements gives the elements of a list; those of an encoded one stay encoded.
func elements(t ei.Term) ([]ei.Term, bool) {
	raw, ok := t.(ei.Raw)
	if !ok {
		return ei.Elements(t)
	}
	c := ei.NewCursor(raw)
	if n, err := c.List(); err == nil && n <= maxArity {
		if list, err := next(&c, n); err == nil && (n == 0 || c.Nil() == nil) {
			return list, true
		}
	}
	t, err := raw.Decode() // small integers, or a list that is long, or in pieces
	if err != nil {
		return nil, false
	}
	return ei.Elements(t)
}

// maxArity is how many parameters a function of Erlang may have.
const maxArity = 255

// next reads n terms, which stay encoded.
func next(c *ei.Cursor, n int) (terms []ei.Term, err error) {
	for range n {
		raw, err := c.Raw()
		if err != nil {
			return nil, err
		}
		terms = append(terms, raw)
	}
	return terms, nil
}
