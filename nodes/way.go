package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
)

// way is the connection to a process: the one to its node, made now if need be, or, in this node,
// the one to its worker; nil if the process is in this worker, or nowhere.
func (n *Node) way(ctx context.Context, node string, to ei.Pid, name ei.Atom) (*Conn, error) {
	if node == n.Name() {
		if to == (ei.Pid{}) && n.procs.named(name) != nil {
			return nil, nil
		}
		return n.router.Across(ctx, to, name)
	}
	return n.connection(ctx, node)
}

// scopeOf is the scope that a process belongs to.
func (n *Node) scopeOf(pid ei.Pid) bonds.Scope {
	e := bonds.Scope{Node: string(pid.Node)}
	e.Worker = n.home(pid)
	return e
}

// wayTo is the connection to the processes of a scope, unless they are here. If c is nil and here
// is false there is no connection, and links and monitors with those processes are broken, or about
// to be.
func (n *Node) wayTo(to bonds.Scope) (c *Conn, here bool) {
	switch {
	case to.Worker != 0:
		return n.router.WorkerLink(to.Worker), false
	case to.Node == n.Name():
		return nil, true
	}
	return n.Conn(to.Node), false
}

// wayOf is way for a message.
func (n *Node) wayOf(ctx context.Context, node string, ctl *dist.Control) (*Conn, error) {
	if ctl.Op != dist.OpAliasSend || node != n.Name() {
		return n.way(ctx, node, ctl.To, ctl.ToName)
	}
	if at := n.holder(ctl.Ref); at != 0 {
		return n.router.Reach(ctx, at)
	}
	return nil, nil
}
