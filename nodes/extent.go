package nodes

import "github.com/cnode-go/cnode/ei"

// extent is what breaks when a connection ends: what processes have with those of a node, or of one worker of this node.
type extent struct {
	node   string
	worker int // 0: the whole node
}

func (c *Conn) extent() extent { return extent{c.peer.Name, c.worker} }

// extentOf is where a process is.
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

// wayTo is the connection that there is to where processes are, unless that is here. nil, and not here: there is none, and what they had
// with processes here is broken, or about to be.
func (n *Node) wayTo(to extent) (c *Conn, here bool) {
	switch {
	case to.worker != 0:
		return n.part.sibling(to.worker), false
	case to.node == n.Name():
		return nil, true
	}
	return n.Conn(to.node), false
}
