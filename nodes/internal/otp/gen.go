package otp

import (
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// ReplyTag reads {Ref, Reply} and {[alias | Ref], Reply}; reply is at Reply. refs are what
// references to a cache of atoms in payload stand for, if there are any. For a message that is no
// reply it costs next to nothing.
func ReplyTag(payload ei.Raw, refs ...ei.Atom) (ref ei.Ref, reply ei.Cursor, ok bool) {
	if len(payload) < 3 || ei.Tag(payload[0]) != ei.TagSmallTupleExt || payload[1] != 2 {
		return ref, reply, false
	}
	reply = ei.NewCursor(payload[2:])
	reply.CacheRefs = refs
	switch ei.Tag(payload[2]) {
	case ei.TagNewerReferenceExt:
	case ei.TagListExt:
		if n, err := reply.List(); err != nil || n != 1 || !reply.AtomIs("alias") {
			return ref, reply, false
		}
	default:
		return ref, reply, false
	}
	ref, err := reply.Ref()
	return ref, reply, err == nil
}

// AliasTag is the tag [alias | Ref], which asks for the reply at an alias.
func AliasTag(ref ei.Ref) ei.Term {
	return ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}
}

// A Kind is what a message to a server is.
type Kind uint8

// The kinds of messages.
const (
	Other  Kind = iota
	Call        // {'$gen_call', {Pid, Tag}, Body}
	System      // {system, {Pid, Tag}, Body}, of module sys
	Cast        // {'$gen_cast', Body}
)

// A Request is a message to a server, taken apart. Its terms are good as long as the message is.
type Request struct {
	Kind Kind
	From Addressee // of Call and System, as Tag is: who waits for {Tag, Answer}
	Tag  ei.Raw
	Body ei.Raw // what is asked; nil of Other
}

// ReadRequest takes a message apart.
func ReadRequest(payload ei.Raw) Request {
	c := ei.NewCursor(payload)
	var q Request
	switch q.Kind = kindOf(&c); q.Kind {
	case Other:
		return q
	case Call, System:
		if n, err := c.Tuple(); err != nil || n != 2 {
			return Request{}
		}
		var err error
		if q.From, err = ReadAddressee(&c); err != nil {
			return Request{}
		}
		if q.Tag, err = c.Raw(); err != nil {
			return Request{}
		}
	}
	var err error
	if q.Body, err = c.Raw(); err != nil {
		return Request{}
	}
	return q
}

// IsCall tells, by how it begins, whether a message is to be taken for a Call.
func IsCall(payload ei.Raw) bool {
	c := ei.NewCursor(payload)
	return kindOf(&c) == Call
}

// kindOf is what a message is by how it begins; the rest follows at c.
func kindOf(c *ei.Cursor) Kind {
	switch n, err := c.Tuple(); {
	case err != nil:
	case n == 3 && c.AtomIs("$gen_call"):
		return Call
	case n == 3 && c.AtomIs("system"):
		return System
	case n == 2 && c.AtomIs("$gen_cast"):
		return Cast
	}
	return Other
}

// AliasOf reads the tags [alias | Ref] and [[alias | Ref] | _], with which gen (OTP 24 and later)
// asks for the reply at an alias; the latter is gen_server:multi_call's.
func AliasOf(tag ei.Raw) (ei.Ref, bool) {
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

// MonitorOf is the reference of the monitor with which the caller waits: the tag itself, or that of
// [alias | Ref], or Ref of [[alias | _] | Ref].
func MonitorOf(tag ei.Raw) (ref ei.Ref) {
	c := ei.NewCursor(tag)
	if n, err := c.List(); err == nil {
		if n != 1 || c.Skip() != nil { // the alias, or its list
			return ei.Ref{}
		}
	}
	ref, _ = c.Ref()
	return ref
}

// IsCallTag tells whether a tag is one that gen, or gen_server:multi_call, makes: Ref, [alias |
// Ref], [[alias | _] | Ref], or {Ref, Node} before OTP 24. No message that begins with one is a
// request.
func IsCallTag(tag ei.Raw) bool {
	c := ei.NewCursor(tag)
	if n, err := c.Tuple(); err == nil {
		_, isRef := c.Ref()
		_, isNode := c.Atom()
		return n == 2 && isRef == nil && isNode == nil
	}
	if MonitorOf(tag).Len == 0 {
		return false
	}
	_, isAlias := AliasOf(tag)
	return isAlias || ei.Tag(tag[0]).IsRef()
}

// An Addressee is where an answer goes to: a process or, where that is wanted and understood, an
// alias of it.
type Addressee struct {
	Pid   ei.Pid // only the node, if nothing but the alias is known
	Alias ei.Ref // without words: none
}

// ReadAddressee reads a pid, or an alias in its place.
func ReadAddressee(c *ei.Cursor) (to Addressee, err error) {
	if tag, _ := c.Peek(); tag.IsRef() {
		to.Alias, err = c.Ref()
		to.Pid.Node = to.Alias.Node
		return to, err
	}
	to.Pid, err = c.Pid()
	return to, err
}

// Term is the pid, or else the alias.
func (to Addressee) Term() ei.Term {
	if to.Alias.Len > 0 {
		return to.Alias
	}
	return to.Pid
}

// Charlist is an Erlang string: the list of its characters.
func Charlist(s string) ei.Term {
	list, bytes := ei.List{}, []byte{}
	for _, r := range s {
		list, bytes = append(list, ei.Int(r)), append(bytes, byte(r))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > 255 }) {
		return list
	}
	return ei.String(bytes)
}
