package gate

import (
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// function decides about a function; arity -1: the number of arguments is not known.
func (f *filter) function(op Op, module, name ei.Atom, arity int) Decision {
	r := Request{Peer: f.outer, Op: op, Module: string(module), Name: string(name), Arity: arity}
	if r.Target = fmt.Sprintf("%s:%s/%d", module, name, arity); arity < 0 {
		r.Target = fmt.Sprintf("%s:%s", module, name)
	}
	return f.g.table().decide(r)
}

// spawn decides about a SPAWN_REQUEST; erpc's are calls of what they run.
func (f *filter) spawn(ctl *dist.Control, c ei.Cursor) Decision {
	m, name := ctl.Module, ctl.Function
	f.mu.Lock()
	ownLeader := string(ctl.GroupLeader.Node) == f.outer || f.talked[ctl.GroupLeader]
	f.mu.Unlock()
	if !ownLeader { // what the function prints would go to a process that the peer may not send to
		return f.function(MaySpawn, m, name, length(&c)).always(false, "a group leader of another node")
	}
	if !plain(ctl.Options) { // the sizes of heaps, say, of which a BEAM dies
		return f.function(MaySpawn, m, name, length(&c)).always(false, "options other than link, monitor and reply")
	}
	want := map[ei.Atom]int{"execute_call": 4, "execute_cast": 3}[name]
	if m != "erpc" || want == 0 {
		return f.function(MaySpawn, m, name, length(&c))
	}
	strange := f.function(MayCall, m, name, -1).always(false, "arguments that erpc does not make")
	n, err := c.List()
	if err != nil || n != want {
		return strange
	}
	if want == 4 {
		if _, err := c.Ref(); err != nil {
			return strange
		}
	}
	if m, err = c.Atom(); err == nil {
		name, err = c.Atom()
	}
	arity := length(&c)
	if err != nil || arity < 0 || c.Nil() != nil {
		return strange
	}
	return f.function(MayCall, m, name, arity)
}

// plain tells whether the options of a request to spawn are such as erpc's: none but those of
// links, monitors and replies. Others set priorities and the like.
func plain(options ei.Raw) bool {
	c := ei.NewCursor(options)
	for {
		n, err := c.List()
		if err != nil || n == 0 {
			return err == nil
		}
		for range n {
			t, _ := c.Peek()
			if t.IsTuple() {
				if m, err := c.Tuple(); err != nil || m != 2 {
					return false
				}
			}
			key, err := c.Atom()
			if err != nil || !slices.Contains([]ei.Atom{"link", "monitor", "reply", "reply_tag"}, key) || t.IsTuple() && c.Skip() != nil {
				return false
			}
		}
	}
}

// rex decides about what rpc of old asks: {'$gen_call', From, {call | block_call, M, F, A, Leader}}
// and {'$gen_cast', {cast | block_cast, M, F, A, Leader}}.
func (f *filter) rex(c ei.Cursor) Decision {
	strange := Request{Peer: f.outer, Op: MaySend, Target: "rex"}.always(false, noRPC)
	if f.shape(c) != shapeRequest {
		return strange
	}
	body(&c)
	if n, err := c.Tuple(); err != nil || n != 5 {
		return strange
	}
	if kind, err := c.Atom(); err != nil || !slices.Contains(rexRequests, kind) {
		return strange
	}
	m, err := c.Atom()
	if err != nil {
		return strange
	}
	name, err := c.Atom()
	if err != nil {
		return strange
	}
	arity := length(&c)
	if arity < 0 {
		return strange
	}
	// What the function prints goes to the peer's own node, or is the node's own (ei_rpc says user).
	if leader, err := c.Pid(); err == nil && string(leader.Node) != f.outer || err != nil && !c.AtomIs("user") {
		return strange
	}
	return f.function(MayCall, m, name, arity)
}

// length passes a proper list, in whatever pieces it comes, and gives its length; -1: it is none.
func length(c *ei.Cursor) int {
	for total := 0; ; {
		switch t, _ := c.Peek(); t {
		case ei.TagStringExt:
			s, err := c.Str()
			if err != nil {
				return -1
			}
			return total + len(s)
		case ei.TagNilExt:
			if c.Nil() != nil {
				return -1
			}
			return total
		case ei.TagListExt:
			n, err := c.List()
			if err != nil {
				return -1
			}
			for range n {
				if c.Skip() != nil {
					return -1
				}
			}
			total += n
		default:
			return -1
		}
	}
}
