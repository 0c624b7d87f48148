package nodes

import "github.com/cnode-go/cnode/ei"

// An extent is a set of processes: those of a node, or those of one worker of this node. When a connection ends, links and monitors with
// the processes of its extent break.
type extent struct {
	node   string
	worker int // 0: the whole node
}

func (c *Conn) extent() extent { return extent{c.peer.Name, c.worker} }

// extentOf is the extent that a process belongs to.
func (n *Node) extentOf(pid ei.Pid) extent {
	e := extent{node: string(pid.Node)}
	if n.part != nil {
		e.worker = n.part.home(pid)
	}
	return e
}

func (e extent) has(pid ei.Pid) bool {
	return string(pid.Node) == e.node && (e.worker == 0 || workerOf(pid) == e.worker)
}

func (e extent) hasTarget(t target) bool { return t.node == e.node && t.worker == e.worker }

// wayTo is the connection to the processes of an extent, unless they are here. If c is nil and here is false there is no connection, and
// links and monitors with those processes are broken, or about to be.
func (n *Node) wayTo(to extent) (c *Conn, here bool) {
	switch {
	case to.worker != 0:
		return n.part.sibling(to.worker), false
	case to.node == n.Name():
		return nil, true
	}
	return n.Conn(to.node), false
}
