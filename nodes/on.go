package nodes

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// checked is the Server with a map of its own, whose functions are all there.
func (s Server) checked() (Server, error) {
	for name, fn := range s.On {
		if fn == nil {
			return s, fmt.Errorf("Server.On: the function %q is nil", name)
		}
	}
	s.On = maps.Clone(s.On)
	return s, checkAbsent("Server.Absent", s.Absent)
}

// CallOf is the call that a Server's function answers, of On or Call; nil in a cast, or another
// message, and for any other context, that of an exposed function, too. In a function of On the
// call has no Request: the arguments are what was asked. One that answers later, by Call.Reply from
// any goroutine, has the result type any, and returns NoReply.
func CallOf(ctx context.Context) *Call {
	if t := runOf(ctx); t != nil {
		return t.call
	}
	return nil
}

// takeOn calls the function of s.On that the message is for; false if there is none.
func (s *Server) takeOn(r *serverRun) bool {
	b, m, ctx := r.b, r.m, context.Context(&r.run)
	request, isCall := r.is.Body, r.is.Kind == otp.Call
	var c *Call
	if isCall {
		c = r.asksFor(b)
		c.tag = bytes.Clone(c.tag)
		r.from, r.run.call = c.From, c
	} else {
		if r.is.Kind == otp.Other {
			var err error
			if request, err = link.FirstTerm(m.Payload); err != nil {
				return false
			}
		}
		b.served.answered() // no caller waits for an answer
	}
	name, v, err := s.callOn(ctx, b, request)
	wrong, isWrong := err.(*gofunc.ArgumentError)
	if isWrong && wrong.Count {
		r.run.call = nil
		return false
	}
	what := func() string {
		if name == "" {
			return b.n.nameOf(b)
		}
		return b.n.nameOf(b) + ", " + name
	}
	switch {
	case isWrong:
		b.n.faults.misused(m.asker(), what(), err)
		if isCall {
			c.answer(ei.Tuple{ei.Atom("error"), ei.Tuple{reasonOfMisuse(wrong), ei.Binary(err.Error())}})
		}
	case isCall:
		c.answerWith(ctx, v, err)
	case err != nil:
		b.n.faults.nobodyHears(m.asker(), what(), err)
	}
	if isCall {
		b.served.answered()
	}
	m.Release()
	return true
}

// callOn calls the function for a request, or else the one for all others. Without either, the
// error is an *ArgumentError, of the number of arguments.
func (s *Server) callOn(ctx context.Context, b *Mailbox, request ei.Raw) (name string, v any, err error) {
	name, args := s.named(request)
	if fn := s.On[name]; fn != nil && name != "" {
		v, err = fn.callFor(ctx, b, name, args)
		if wrong, ok := err.(*gofunc.ArgumentError); !ok || !wrong.Count {
			return name, v, err
		}
	}
	if fn := s.On[""]; fn != nil {
		v, err = fn.callFor(ctx, b, "", []ei.Term{request})
		return "", v, err
	}
	return name, nil, &gofunc.ArgumentError{Count: true}
}

// named takes apart a request that begins with the name of a function of s.On: {Name, A, B}, or
// Name. The arguments stay encoded.
func (s *Server) named(request ei.Raw) (name string, args []ei.Term) {
	c := ei.NewCursor(request)
	size, err := c.Tuple()
	if err != nil {
		size = 1
	}
	if size == 0 || size > otp.MaxArity+1 {
		return "", nil
	}
	atom, err := c.Atom()
	if err != nil || s.On[string(atom)] == nil {
		return "", nil
	}
	if args, err = otp.Next(&c, size-1); err != nil {
		return "", nil
	}
	return string(atom), args
}

// callFor calls a function of a Server for a request.
func (fn Func) callFor(ctx context.Context, b *Mailbox, name string, args []ei.Term) (any, error) {
	ctx, r := b.measureRun(ctx, runOf(ctx).caller(), name)
	v, err := fn.callWith(ctx, args)
	r.EndReturned(err)
	return v, err
}

// callWith calls a function with arguments that are still encoded.
func (fn Func) callWith(ctx context.Context, args []ei.Term) (any, error) {
	if !gofunc.IsTyped(fn) {
		if err := runOf(ctx).decode(args); err != nil {
			return nil, &gofunc.ArgumentError{Err: err}
		}
	}
	return fn(ctx, args)
}
