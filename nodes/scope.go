package nodes

import "github.com/cnode-go/cnode/ei"

// An scope is a set of processes: those of a node, or those of one worker of this node. When a
// connection ends, links and monitors with the processes of its scope break.
type scope struct {
	node   string
	worker int // 0: the whole node
}

func (c *Conn) extent() scope { return scope{c.peer.Name, c.worker} }

func (e scope) has(pid ei.Pid) bool {
	return string(pid.Node) == e.node && (e.worker == 0 || workerOf(pid) == e.worker)
}

func (e scope) hasTarget(t target) bool { return t.node == e.node && t.worker == e.worker }
