package otp

import (
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// A RexRequest is {Op, M, F, A, GroupLeader}, what rex is asked for. Of a group leader that is
// neither a pid nor a name there is none.
type RexRequest struct {
	MFA        ei.Cursor // at M
	Leader     ei.Pid
	LeaderName ei.Atom
}

// ReadRex reads a request whose Op is one of ops.
func ReadRex(request ei.Raw, ops ...ei.Atom) (r RexRequest, ok bool) {
	c := ei.NewCursor(request)
	if size, err := c.Tuple(); err != nil || size != 5 || !slices.ContainsFunc(ops, c.AtomIs) {
		return r, false
	}
	r.MFA = c
	for range 3 {
		if err := c.Skip(); err != nil {
			return r, false
		}
	}
	var err error
	if r.Leader, err = c.Pid(); err != nil {
		r.LeaderName, _ = c.Atom()
	}
	return r, true
}

// ReadAsked reads {From, Request}, which is well-formed.
func ReadAsked(payload ei.Raw) (from Addressee, request ei.Raw, ok bool) {
	c := ei.NewCursor(payload)
	if size, err := c.Tuple(); err != nil || size != 2 {
		return from, nil, false
	}
	from, err := ReadAddressee(&c)
	if err != nil {
		return from, nil, false
	}
	request, err = c.Raw()
	return from, request, err == nil
}

// BadRPC is the term of {badrpc, Reason}.
func BadRPC(reason ei.Term) ei.Term { return ei.Tuple{ei.Atom("badrpc"), reason} }

// ReadBadRPC reads the reason of {badrpc, Reason}; nil: the next term is something else.
func ReadBadRPC(c ei.Cursor) (reason ei.Term, err error) {
	if size, err := c.Tuple(); err != nil || size != 2 || !c.AtomIs("badrpc") {
		return nil, nil
	}
	return c.Term()
}

// IsResult tells whether the next term is ok, error, {ok, _} or {error, _}.
func IsResult(c ei.Cursor) bool {
	if size, err := c.Tuple(); err == nil && size != 2 {
		return false
	}
	return c.AtomIs("ok") || c.AtomIs("error")
}

// IsStack tells whether a term is a list of calls: {Module, Function, Arguments, Place}, or {Fun,
// Arguments, Place}.
func IsStack(t ei.Term) bool {
	frames, ok := ei.Elements(t)
	for _, f := range frames {
		call, isTuple := f.(ei.Tuple)
		ok = ok && isTuple && (len(call) == 3 || len(call) == 4)
	}
	return ok
}
