package gate

import (
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// isAnswer tells whether a message is {Tag, Reply}.
func isAnswer(payload ei.Raw) bool {
	c := ei.NewCursor(payload)
	n, err := c.Tuple()
	if err != nil || n != 2 {
		return false
	}
	_, ok := readTag(&c)
	return ok
}

// isOldRPC tells whether a message is {From, {call | send | sbcast…, …}}, which rex takes, too.
func isOldRPC(c ei.Cursor) bool {
	if n, err := c.Tuple(); err != nil || n != 2 {
		return false
	}
	if _, err := c.Pid(); err != nil {
		return false
	}
	if _, err := c.Tuple(); err != nil {
		return false
	}
	kind, err := c.Atom()
	return err == nil && (slices.Contains(rexRequests, kind) || kind == "send" || kind == "sbcast" || kind == "features_request")
}

// The kinds of messages.
const (
	shapePing    = "a ping"
	shapeRequest = "a request"
	shapeSystem  = "a system message"
	shapeForged  = "a request in another process's name"
	shapeIO      = "a request to a group leader"
	shapeOther   = "a message"
)

// shape looks at the beginning of a message. A request whose answer would go to somebody else than
// a process of the node outside is forged: the server would speak for it.
func (f *filter) shape(c ei.Cursor) string {
	n, err := c.Tuple()
	switch {
	case err != nil:
		return shapeOther
	case n == 2 && c.AtomIs("$gen_cast"):
		return shapeRequest
	case n == 3 && (c.AtomIs("system") || c.AtomIs("EXIT")):
		return shapeSystem
	case n == 4 && c.AtomIs("io_request"):
		return shapeIO
	case n != 3 || !c.AtomIs("$gen_call"):
		return shapeOther
	}
	if m, err := c.Tuple(); err != nil || m != 2 {
		return shapeForged
	}
	if p, err := c.Pid(); err != nil || string(p.Node) != f.outer {
		return shapeForged
	}
	rest := c
	if rest.Skip() != nil {
		return shapeForged
	}
	if t, ok := readTag(&c); !ok || string(t.monitor.Node) != f.outer || string(t.alias.Node) != f.outer {
		return shapeForged
	}
	if m, err := rest.Tuple(); err == nil && m == 2 && rest.AtomIs("is_auth") {
		if _, err := rest.Atom(); err == nil {
			return shapePing
		}
	}
	return shapeRequest
}

// isIORequest tells whether a message begins as a request to a group leader or a file does.
func isIORequest(payload ei.Raw) bool {
	c := ei.NewCursor(payload)
	n, err := c.Tuple()
	return err == nil && n == 4 && c.AtomIs("io_request")
}

// plainIO tells whether {io_request, From, ReplyAs, Request} has the server run no function, as
// {put_chars, unicode, M, F, A} does, and answer to a process of the peer.
func (f *filter) plainIO(c ei.Cursor) bool {
	if n, err := c.Tuple(); err != nil || n != 4 || !c.AtomIs("io_request") {
		return false
	}
	if p, err := c.Pid(); err != nil || string(p.Node) != f.outer || c.Skip() != nil {
		return false
	}
	if a := c; a.AtomIs("getopts") {
		return true
	}
	n, err := c.Tuple()
	if err != nil {
		return false
	}
	for request, arity := range map[ei.Atom][2]int{
		"put_chars": {2, 3}, "get_line": {2, 3}, "get_chars": {3, 4}, "get_password": {2, 2}, "get_geometry": {2, 2},
	} {
		if c := c; c.AtomIs(request) {
			return n == arity[0] || n == arity[1]
		}
	}
	return false // get_until, requests, setopts with its expand_fun, and what is not known
}

// runs tells whether a request, of which shape knows the form, is such as rex, net_kernel and
// supervisors run functions by: {call | cast | block_call | block_cast, M, F, A, …}, {spawn…, …},
// {start_child | start_task, …}.
func (f *filter) runs(c ei.Cursor) bool {
	body(&c)
	n, err := c.Tuple()
	if err != nil || n < 2 {
		return false
	}
	kind, err := c.Atom()
	switch {
	case err != nil:
		return false
	case strings.HasPrefix(string(kind), "spawn"), kind == "start_child", kind == "start_task":
		return true
	case n < 4 || !slices.Contains(rexRequests, kind):
		return false
	}
	_, isModule := c.Atom()
	_, isFunction := c.Atom()
	return isModule == nil && isFunction == nil
}

// rexRequests are those of rpc.
var rexRequests = []ei.Atom{"call", "block_call", "cast", "block_cast"}

// body passes all of a request but what is asked. shape has read it.
func body(c *ei.Cursor) {
	n, _ := c.Tuple()
	for range n - 1 {
		_ = c.Skip()
	}
}

// A tag is that of a request: the monitor by which the caller waits, and where the answer goes,
// which are the same reference but for gen_server:multi_call.
type tag struct{ monitor, alias ei.Ref }

// readTag reads a tag: Ref, [alias | Ref], {Ref, Node}, or multi_call's [[alias | Alias] | Ref].
func readTag(c *ei.Cursor) (t tag, ok bool) {
	begin, _ := c.Peek()
	switch {
	case begin.IsTuple():
		n, err := c.Tuple()
		if err != nil || n != 2 {
			return t, false
		}
		t.monitor, err = c.Ref()
		_, e := c.Atom()
		t.alias = t.monitor
		return t, err == nil && e == nil
	case begin != ei.TagListExt:
		var err error
		t.monitor, err = c.Ref()
		t.alias = t.monitor
		return t, err == nil
	}
	if n, err := c.List(); err != nil || n != 1 {
		return t, false
	}
	if inner, _ := c.Peek(); inner == ei.TagListExt {
		if n, err := c.List(); err != nil || n != 1 || !c.AtomIs("alias") {
			return t, false
		}
		var err error
		if t.alias, err = c.Ref(); err != nil {
			return t, false
		}
		t.monitor, err = c.Ref()
		return t, err == nil
	}
	if !c.AtomIs("alias") {
		return t, false
	}
	var err error
	t.monitor, err = c.Ref()
	t.alias = t.monitor
	return t, err == nil
}

// answerTag reads the tag of an answer: {Tag, Reply}, or a group leader's {io_reply, Tag, Reply}.
func answerTag(payload ei.Raw) (tag, bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 2 && (n != 3 || !c.AtomIs("io_reply")) {
		return tag{}, false
	}
	return readTag(&c)
}

// answers tells whether a message is an answer to a process inside that waits for it.
func (f *filter) answers(ctl *dist.Control, payload ei.Raw) bool {
	t, ok := answerTag(payload)
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.Waits[t.monitor]
	if !ok {
		w.Who, ok = f.asked[t.monitor]
	}
	return ok && (ctl.To == w.Who || ctl.To == ei.Pid{} && ctl.Ref == t.alias)
}

// asks gives the monitor of a request, {_, {From, Tag}, _}, of the node outside.
func (f *filter) asks(payload ei.Raw) (ei.Ref, bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 3 || c.Skip() != nil {
		return ei.Ref{}, false
	}
	if n, err := c.Tuple(); err != nil || n != 2 || c.Skip() != nil {
		return ei.Ref{}, false
	}
	t, ok := readTag(&c)
	return t.monitor, ok && string(t.monitor.Node) == f.outer
}
