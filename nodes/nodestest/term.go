package nodestest

import (
	"context"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// callLimit is how long gen_server:call waits, unless it is told otherwise.
const callLimit = 5 * time.Second

// Term is a term in Erlang's text, in the form in which a BEAM sends it: there a list of bytes,
// [1,2,3], is the same as the charlist "\1\2\3". It panics if the text is none (see ei.Parse).
func Term(text string) ei.Term {
	t, err := parse(text)
	if err != nil {
		panic(err)
	}
	return t
}

func parse(text string) (ei.Term, error) {
	t, err := ei.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("nodestest: %q: %w", text, err)
	}
	return otp.Canonical(t)
}

// beamly makes the results of a function what a BEAM sends.
func beamly(f nodes.Func) nodes.Func {
	return func(ctx context.Context, args []ei.Term) (any, error) {
		v, err := f(ctx, args)
		if err != nil || v == nodes.NoReply {
			return v, err
		}
		b, err := ei.Append(nil, v)
		if err != nil {
			return nil, err
		}
		return otp.Canonical(ei.Raw(b))
	}
}

// Returns is a function of a BEAM with a result in Erlang's text, whatever its arguments. It panics
// as Term does.
func Returns(text string) nodes.Func {
	t := Term(text)
	return func(context.Context, []ei.Term) (any, error) { return t, nil }
}

// Raises is a function of a BEAM that raises an exception, as erlang:error, exit and throw do, with
// a reason in Erlang's text. It panics as Term does.
func Raises(class nodes.Class, reason string) nodes.Func {
	r := &nodes.Raise{Class: class, Reason: Term(reason)}
	return func(context.Context, []ei.Term) (any, error) { return nil, r }
}

// Hangs is a function of a BEAM that does not return: who calls it waits as long as the call may
// take.
func Hangs() nodes.Func {
	return func(ctx context.Context, _ []ei.Term) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}
