package nodes

import "github.com/cnode-go/cnode/ei"

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
