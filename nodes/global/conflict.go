package global

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A Method says who keeps a name if two partitions in which it is taken become one: fun
// Module:Function/3, which is called on the node of one of the two processes, once. It is given the
// name and both pids, and returns the pid that keeps the name, or none.
//
// A Go function is a Method, too: expose it on the node, Node.Expose("shop", "keeper", fn), and
// give Method{Module: "shop", Function: "keeper"}. Its arguments are the name, the pid from the
// other partition, and that of this node.
type Method struct{ Module, Function string }

// The methods of module global.
var (
	RandomExit   = Method{"global", "random_exit_name"}   // one process keeps the name, the other one is killed
	RandomNotify = Method{"global", "random_notify_name"} // one keeps it, the other one gets {global_name_conflict, Name}
	NotifyAll    = Method{"global", "notify_all_name"}    // none keeps it, both get {global_name_conflict, Name, OtherPid}
)

func (m Method) term() ei.Term {
	if m == (Method{}) {
		m = RandomExit
	}
	return ei.Export{Module: ei.Atom(m.Module), Function: ei.Atom(m.Function), Arity: 3}
}

// methodOf reads a method. A closure of module global can only be one of the three, and which of
// them its own release knows: random_exit_name is what register_name/2 has.
func methodOf(t ei.Term) (Method, bool) {
	switch f := t.(type) {
	case ei.Export:
		return Method{string(f.Module), string(f.Function)}, f.Arity == 3
	case ei.Fun:
		return RandomExit, f.Module == "global"
	case ei.Tuple: // {Module, Function}, of old
		if len(f) == 2 {
			m, ok1 := f[0].(ei.Atom)
			fn, ok2 := f[1].(ei.Atom)
			return Method{string(m), string(fn)}, ok1 && ok2
		}
	}
	return Method{}, false
}

// resolve asks the nodes of our side's processes who keeps the names.
func (g *Global) resolve(s *session, clashes []*clash) {
	node, tag := s.Node, s.Tag
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), g.locker.patience.exchange*2/3)
		defer cancel()
		for _, c := range clashes {
			c.keep = g.whoKeeps(ctx, c)
		}
		g.push(func() { g.server.resolved(node, tag, clashes) })
	}()
}

func (g *Global) whoKeeps(ctx context.Context, c *clash) keep {
	node := string(c.own.pid.Node)
	if !g.joins(node) {
		ctx = nodes.NoConnect(ctx)
	}
	keeps, err := g.n.RPC(ctx, node, "global", "resolve_it", c.own.method, c.own.term, c.his.pid, c.own.pid)
	switch {
	case err != nil:
		g.log.Info("global: nobody could be asked about a name that two processes have", "name", c.own.term, "error", err)
		return keepHis
	case keeps == ei.Term(c.his.pid):
		return keepHis
	case keeps == ei.Term(c.own.pid):
		return keepOwn
	}
	g.log.Info("global: two processes had a name, and none keeps it", "name", c.own.term)
	return keepNone
}

// resolveIt is global:resolve_it(Method, Name, HisPid, OwnPid), which ends processes, or calls a
// function of the program that no rule of Config.Rules may let the caller call. So it does
// something only for a conflict that there can be: about a name that this node has registered for
// OwnPid with that method, asked by a node of this partition, with a process of another one.
func (g *Global) resolveIt(ctx context.Context, args []ei.Term) (any, error) {
	if len(args) != 4 {
		return nil, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Atom("undef")}
	}
	m, ok1 := methodOf(args[0])
	key, t, ok2 := keyOf(args[1])
	his, ok3 := args[2].(ei.Pid)
	own, ok4 := args[3].(ei.Pid)
	caller := asker.Of(g.n, nodes.ConnOf(ctx))
	if !ok1 || !ok2 || !ok3 || !ok4 || g.Err() != nil || !g.isConflict(caller, m, key, his, own) {
		g.log.Info("global: asked about a name that is in no conflict", "peer", caller)
		return nil, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Atom("badarg")}
	}
	box := g.box.Mailbox()
	lesser, greater := his, own
	if own.Node < his.Node {
		lesser, greater = own, his
	}
	if !g.mayLose(caller, m, own, greater) {
		g.log.Info("global: asked by a node that may not end, or tell, a process which has a name", "peer", caller, "name", t)
		return nil, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Atom("eacces")}
	}
	switch m {
	case RandomExit:
		g.log.Info("global: two processes had a name, and one of them is killed", "name", t, "pid", greater)
		return lesser, box.SendExit(ctx, greater, ei.Atom("kill"))
	case RandomNotify:
		return lesser, box.Send(ctx, greater, ei.Tuple{ei.Atom("global_name_conflict"), t})
	case NotifyAll:
		return ei.Atom("none"), errors.Join(
			box.Send(ctx, his, ei.Tuple{ei.Atom("global_name_conflict"), t, own}),
			box.Send(ctx, own, ei.Tuple{ei.Atom("global_name_conflict"), t, his}))
	}
	return g.n.RPC(ctx, g.n.Name(), m.Module, m.Function, t, his, own)
}

// mayLose tells whether the caller may do to our process what a method of module global does to it.
// Without that the process is left alone, and loses the name: nobody keeps it for us.
func (g *Global) mayLose(caller string, m Method, own, greater ei.Pid) bool {
	switch {
	case m == RandomExit && greater == own:
		return g.n.AllowsProcess(caller, nodes.MayExit, own)
	case m == RandomNotify && greater == own || m == NotifyAll:
		return g.n.AllowsProcess(caller, nodes.MaySend, own)
	}
	return true
}

// isConflict tells whether a process may be in conflict with one of ours about a name.
func (g *Global) isConflict(caller string, m Method, key string, his, own ei.Pid) bool {
	node := string(his.Node)
	if !otp.PossibleEverywhere(his) || !isNodeName(node) || node == g.n.Name() || string(own.Node) != g.n.Name() {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	n := g.server.names[key]
	if n == nil || !n.mine || n.pid != own || caller != g.n.Name() && !g.server.isMember(caller) {
		return false
	}
	if of, ok := methodOf(n.method); !ok || of != m {
		return false
	}
	if node == caller {
		return true
	}
	// processes of this partition have no conflicts, and hidden nodes no part in any
	_, isKnown := g.server.known[node]
	c := g.n.Conn(node)
	return !isKnown && (c == nil || isVisible(c)) && g.joins(node)
}
