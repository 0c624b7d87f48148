package nodes

import "github.com/cnode-go/cnode/ei"

// tagOfReply reads {Ref, Reply}. For a message that is no reply it costs next to nothing.
func tagOfReply(payload ei.Raw) (ref ei.Ref, ok bool) {
	if len(payload) < 3 || ei.Tag(payload[0]) != ei.TagSmallTupleExt || payload[1] != 2 || ei.Tag(payload[2]) != ei.TagNewerReferenceExt {
		return ref, false
	}
	c := ei.NewCursor(payload[2:])
	ref, err := c.Ref()
	return ref, err == nil
}

// genCall reads {'$gen_call', {Pid, Tag}, Request}.
func genCall(payload ei.Raw) (from addressee, tag, request ei.Raw, ok bool) {
	return genRequest("$gen_call", payload)
}

// genRequest reads {Kind, {Pid, Tag}, Request}.
func genRequest(kind ei.Atom, payload ei.Raw) (from addressee, tag, request ei.Raw, ok bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 3 || !c.AtomIs(kind) {
		return
	}
	if n, err := c.Tuple(); err != nil || n != 2 {
		return
	}
	var err error
	if from, err = readAddressee(&c); err != nil {
		return
	}
	if tag, err = c.Raw(); err != nil {
		return
	}
	request, err = c.Raw()
	return from, tag, request, err == nil
}

// genCast reads {'$gen_cast', Request}.
func genCast(payload ei.Raw) (request ei.Raw, ok bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 2 || !c.AtomIs("$gen_cast") {
		return nil, false
	}
	request, err := c.Raw()
	return request, err == nil
}

// aliasOf reads the tags [alias | Ref] and [[alias | Ref] | _], with which gen (OTP 24 and later)
// asks for the reply at an alias; the latter is gen_server:multi_call's.
func aliasOf(tag ei.Raw) (ei.Ref, bool) {
	c := ei.NewCursor(tag)
	for depth := 0; ; depth++ {
		if n, err := c.List(); err != nil || n != 1 || depth > 1 {
			return ei.Ref{}, false
		}
		if c.AtomIs("alias") {
			break
		}
	}
	ref, err := c.Ref()
	return ref, err == nil
}

// monitorOf is the reference of the monitor with which the caller waits: the tag itself, or that of
// [alias | Ref], or Ref of [[alias | _] | Ref].
func monitorOf(tag ei.Raw) (ref ei.Ref) {
	c := ei.NewCursor(tag)
	if n, err := c.List(); err == nil {
		if n != 1 || c.Skip() != nil { // the alias, or its list
			return ei.Ref{}
		}
	}
	ref, _ = c.Ref()
	return ref
}

// An addressee is where an answer goes to: a process or, where that is wanted and understood, an
// alias of it.
type addressee struct {
	pid   ei.Pid // only the node, if nothing but the alias is known
	alias ei.Ref // without words: none
}

// readAddressee reads a pid, or an alias in its place.
func readAddressee(c *ei.Cursor) (to addressee, err error) {
	if tag, _ := c.Peek(); tag.IsRef() {
		to.alias, err = c.Ref()
		to.pid.Node = to.alias.Node
		return to, err
	}
	to.pid, err = c.Pid()
	return to, err
}
