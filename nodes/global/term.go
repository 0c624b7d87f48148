package global

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A letter is a term on its way to a process, of this node or another one.
type letter struct {
	Node     string
	Name     bool    // to that node's global_name_server
	Connects bool    // brings up the connection
	Pid      ei.Pid  `ei:",omitempty"`
	Alias    ei.Ref  `ei:",omitempty"` // where a caller waits, in place of pid
	Tag      ei.Term `ei:",omitempty"`
	Payload  ei.Raw  `ei:",omitempty"`
}

// tagOf is the first element of a tuple, if there is one and it is an atom.
func tagOf(t ei.Tuple) (a ei.Atom) {
	if len(t) > 0 {
		a, _ = t[0].(ei.Atom)
	}
	return a
}

func isAtom(t ei.Term, text string) bool { return t == ei.Term(ei.Atom(text)) }

func atomOf(b bool) ei.Atom {
	if b {
		return "true"
	}
	return "false"
}

func atoms(names []string) ei.List {
	list := make(ei.List, len(names))
	for i, n := range names {
		list[i] = ei.Atom(n)
	}
	return list
}

// callOf reads {'$gen_call', From, Request}.
func callOf(node string, m ei.Tuple) (to letter, request ei.Term, ok bool) {
	if len(m) != 3 {
		return letter{}, nil, false
	}
	to, ok = replyTo(node, m[1])
	return to, m[2], ok
}

// replyTo reads {Pid, Tag}: where a caller of a node waits. What names a process of another node is
// none: an answer would go to a node that has not asked.
func replyTo(node string, from ei.Term) (to letter, ok bool) {
	t, ok := from.(ei.Tuple)
	if !ok || len(t) != 2 {
		return letter{}, false
	}
	pid, ok := t[0].(ei.Pid)
	if !ok || string(pid.Node) != node {
		return letter{}, false
	}
	if !otp.PossibleEverywhere(pid) || !isKeepable(t[1], maxTagLen) {
		return letter{}, false
	}
	to = letter{Node: node, Pid: pid, Tag: t[1]}
	tag, _ := t[1].(ei.ImproperList)
	if len(tag.Elems) == 0 { // [[alias | Ref] | _] may be proper
		if l, isList := t[1].(ei.List); isList && len(l) > 0 {
			tag, _ = l[0].(ei.ImproperList)
		}
	} else if inner, nested := tag.Elems[0].(ei.ImproperList); nested {
		tag = inner
	}
	if len(tag.Elems) == 1 && isAtom(tag.Elems[0], "alias") {
		if to.Alias, ok = tag.Tail.(ei.Ref); !ok || string(to.Alias.Node) != node {
			return letter{}, false
		}
	}
	return to, true
}

// isKeepable tells whether a peer's term can be kept, and passed on: it is possible, and no longer
// than a number of bytes.
func isKeepable(t ei.Term, longest int) bool {
	_, ok := keptSize(t, longest)
	return ok
}

// keptSize is isKeepable, and how many bytes the encoded term has.
func keptSize(t ei.Term, longest int) (size int, ok bool) {
	raw, err := ei.AppendTerm(nil, t)
	return len(raw), err == nil && len(raw) <= longest && otp.PossibleEverywhere(t)
}

// isVisible tells whether the node at the other end may take part in global.
func isVisible(c *nodes.Conn) bool { return c.Peer().Flags.Has(dist.FlagPublished) }

// keyOf makes the key of a term in a map: terms that are the same to Erlang have the same one.
func keyOf(t ei.Term) (key string, same ei.Term, ok bool) {
	raw, err := ei.AppendTerm(nil, t)
	if err != nil || len(raw) > maxNameLen || !otp.PossibleEverywhere(t) {
		return "", nil, false
	}
	if same, err = otp.Canonical(t); err == nil {
		raw, err = ei.AppendTerm(raw[:0], same)
	}
	return string(raw), same, err == nil
}

// nodesOf reads [{Node, Version}], in which a Node may stand alone. Names that no node can have are
// left out.
func nodesOf(t ei.Term) (nodes []nodeVersion) {
	list, _ := ei.Elements(t)
	for _, e := range list {
		v := nodeVersion{Version: 0}
		switch e := e.(type) {
		case ei.Atom:
			v.Node = string(e)
		case ei.Tuple:
			if len(e) == 2 {
				a, _ := e[0].(ei.Atom)
				n, _ := e[1].(ei.Int)
				v = nodeVersion{string(a), int(n)}
			}
		}
		if isNodeName(v.Node) {
			nodes = append(nodes, v)
		}
	}
	return nodes
}

type nodeVersion struct {
	Node    string
	Version int
}

func (v nodeVersion) term() ei.Term { return ei.Tuple{ei.Atom(v.Node), ei.Int(v.Version)} }

// isNodeName tells whether a node can have a name.
func isNodeName(name string) bool { return name != "" && dist.CheckName(name) == nil }
