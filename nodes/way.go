package nodes

import (
	"context"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// way is the connection to a process: the one to its node, made now if need be, or, in this node,
// the one to its worker; nil if the process is in this worker, or nowhere.
func (n *Node) way(ctx context.Context, node string, to ei.Pid, name ei.Atom) (*Conn, error) {
	if node == n.Name() {
		return n.router.across(ctx, to, name)
	}
	return n.connection(ctx, node)
}

// connection is the connection to a node, made now if need be.
func (n *Node) connection(ctx context.Context, node string) (*Conn, error) {
	if c := n.Conn(node); c != nil {
		return c, nil
	}
	if err := dist.CheckName(node); err != nil { // no node can have that name: nothing is tried
		return nil, err
	}
	c, _, err := n.dial(ctx, node, nil, true)
	if err == ErrMoved { // the connection, or the node: there is one, but not here
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	return c, nil
}

// scopeOf is the scope that a process belongs to.
func (n *Node) scopeOf(pid ei.Pid) scope {
	e := scope{node: string(pid.Node)}
	e.worker = n.router.home(pid)
	return e
}

// wayTo is the connection to the processes of an scope, unless they are here. If c is nil and here
// is false there is no connection, and links and monitors with those processes are broken, or about
// to be.
func (n *Node) wayTo(to scope) (c *Conn, here bool) {
	switch {
	case to.worker != 0:
		return n.router.workerLink(to.worker), false
	case to.node == n.Name():
		return nil, true
	}
	return n.Conn(to.node), false
}

// tell sends a signal without waiting, and only if there is a connection: without one the other
// side knows already.
func (n *Node) tell(ctl *dist.Control) {
	switch c, here := n.wayTo(n.scopeOf(ctl.To)); {
	case here:
		n.localSignal(ctl)
	case c != nil:
		c.tell(ctl)
	}
}
