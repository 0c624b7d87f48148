package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/permit"
	"github.com/cnode-go/cnode/transport"
)

// What tools of Erlang and Elixir ask of a node first, and do not reckon with being refused: an
// exception ends the user's own node, or leaves the tool waiting for ever. So these have an answer
// whatever the rules say, and whichever packages a program has switched on. They tell nothing that
// the peer may not know.

// answerTool answers code:ensure_loaded/1, which shells ask before they begin (erl -remsh, iex
// --remsh); nil: it is another function. What a peer may call nothing of is not there.
func (n *Node) answerTool(c *Conn, f function, args []ei.Term) ei.Term {
	if f != (function{"code", "ensure_loaded"}) || len(args) != 1 || n.exposed(f) != nil {
		return nil
	}
	module, ok := atom(args[0])
	if ok && n.offers(c, module) {
		return ei.Tuple{ei.Atom("module"), module}
	}
	return ei.Tuple{ei.Atom("error"), ei.Atom("nofile")}
}

// offers tells whether there is a function of a module that a peer may call, or spawn.
func (n *Node) offers(c *Conn, module ei.Atom) bool {
	fns := map[function]Func{}
	n.procs.mu.RLock()
	for f, fn := range n.procs.funcs {
		if f.module == module {
			fns[f] = fn
		}
	}
	n.procs.mu.RUnlock()
	c = c.toOthers()
	if c == nil || n.rules == nil {
		return len(fns) > 0
	}
	for f, fn := range fns {
		for given, last := 0, -1; given <= maxArity; given++ {
			takes := fn.arity(given)
			if takes == last { // as with fewer
				continue
			}
			last = takes
			for _, op := range []Permission{MayCall, MaySpawn} {
				if n.rules.Function(c.peer.Name, permit.Op(op), string(f.module), string(f.name), takes) {
					return true
				}
			}
		}
	}
	return false
}

// releaseTool tells whoever waits for a process that cannot run what it has been asked for: for
// dbg:do_relay, of dbg:n and ttb, dbg at the peer waits for {started, _} and nothing else. Then it
// sees the process end.
func releaseTool(ctx context.Context, f function, args []ei.Term) {
	if f != (function{"dbg", "do_relay"}) || len(args) < 2 || decode(args) != nil {
		return
	}
	self := MailboxOf(ctx)
	parent, ok := args[len(args)-2].(ei.Pid)
	if c := ConnOf(ctx); !ok || c == nil || string(parent.Node) != c.Name() {
		return
	}
	started := ei.Tuple{ei.Atom("started"), self.Pid()}
	if len(args) > 2 { // of a session, as of OTP 27
		started = append(started, ei.Atom("undefined"))
	}
	_ = self.Send(NoConnect(transport.NoWait()), parent, started)
}
