package otp

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
)

// An Exception is what erpc:call raises: class error, exit or throw, and the reason in the form
// that erpc gives it.
type Exception struct {
	Class  ei.Atom
	Reason ei.Term
}

// ERPCResult reads the exit reason of the process that erpc:execute_call(Res, M, F, A) has run in:
// the value is at the cursor, unless there is an exception. Its reason is
//
//	error   {exception, Reason, Stack}  the function's
//	        {erpc, noconnection}        the connection was lost
//	        {erpc, Reason}              system_limit: more arguments than a function can have
//	exit    {exception, Reason}         the function's
//	        {signal, Reason}            an exit signal has ended the process
//	throw   the value thrown
//
// The error is one of a reason that cannot be decoded.
func ERPCResult(reason ei.Raw, res ei.Ref) (value ei.Cursor, e *Exception, err error) {
	value = ei.NewCursor(reason)
	if n, err := value.Tuple(); err == nil && n == 3 {
		if ref, err := value.Ref(); err == nil && ref == res && value.AtomIs("return") {
			return value, nil, nil
		}
	}
	t, err := reason.Decode()
	if err != nil {
		return value, nil, err
	}
	return value, exception(t, res), nil
}

func exception(reason ei.Term, res ei.Ref) *Exception {
	if reason == ei.Atom("noconnection") {
		return Refused(ei.Atom("noconnection"))
	}
	if t, ok := reason.(ei.Tuple); ok && len(t) >= 3 && t[0] == res {
		switch {
		case len(t) == 3 && t[1] == ei.Atom("throw"):
			return &Exception{"throw", t[2]}
		case len(t) == 3 && t[1] == ei.Atom("exit"):
			return &Exception{"exit", ei.Tuple{ei.Atom("exception"), t[2]}}
		case len(t) == 3 && t[1] == ei.Atom("error"):
			if erpc, ok := t[2].(ei.Tuple); ok && len(erpc) == 2 && erpc[0] == ei.Atom("erpc") {
				return &Exception{"error", erpc}
			}
		case len(t) == 4 && t[1] == ei.Atom("error"):
			return &Exception{"error", ei.Tuple{ei.Atom("exception"), t[2], t[3]}}
		}
	}
	return &Exception{"exit", ei.Tuple{ei.Atom("signal"), reason}}
}

// Refused is the exception error:{erpc, Reason}.
func Refused(reason ei.Term) *Exception {
	return &Exception{"error", ei.Tuple{ei.Atom("erpc"), reason}}
}

// SpawnResult reads the result of a SPAWN_REPLY: the new process, or the reason why there is none.
func SpawnResult(result ei.Raw) (pid ei.Pid, reason ei.Term, err error) {
	c := ei.NewCursor(result)
	if tag, _ := c.Peek(); tag.IsAtom() {
		reason, err := c.Atom()
		return pid, reason, err
	}
	pid, err = c.Pid()
	return pid, nil, err
}

// ErrUnanswerable: a term is no request of the io protocol that can be answered.
var ErrUnanswerable = errors.New("no request of the io protocol")

// IOAnswer answers a message {io_request, From, ReplyAs, Request} of the io protocol in the place
// of a device that takes what is printed, and that has nothing to read: the answer is {io_reply,
// ReplyAs, Reply}, to from. See the manual of stdlib, "The Erlang I/O Protocol".
func IOAnswer(payload ei.Raw) (from Addressee, answer ei.Term, err error) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 4 || !c.AtomIs("io_request") {
		return from, nil, ErrUnanswerable
	}
	if from, err = ReadAddressee(&c); err != nil {
		return from, nil, err
	}
	as, err := c.Raw()
	if err != nil {
		return from, nil, err
	}
	return from, ei.Tuple{ei.Atom("io_reply"), as, ioReply(&c, 0)}, nil
}

// ioReply is the reply to the request at c.
func ioReply(c *ei.Cursor, depth int) ei.Term {
	failed := ei.Tuple{ei.Atom("error"), ei.Atom("request")}
	if c.AtomIs("getopts") {
		return ei.List{}
	}
	n, err := c.Tuple()
	if err != nil || n < 2 {
		return failed
	}
	kind, err := c.Atom()
	if err != nil {
		return failed
	}
	switch kind {
	case "put_chars", "setopts":
		return ei.Atom("ok")
	case "get_chars", "get_line", "get_until", "get_password":
		return ei.Atom("eof")
	case "get_geometry":
		return ei.Tuple{ei.Atom("error"), ei.Atom("enotsup")}
	case "requests": // the last one's reply
		n, err := c.List()
		if err != nil || depth > 0 {
			return failed
		}
		for ; n > 1; n-- {
			if c.Skip() != nil {
				return failed
			}
		}
		if n == 0 {
			return ei.Atom("ok")
		}
		return ioReply(c, depth+1)
	}
	return failed
}
