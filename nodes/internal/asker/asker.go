// Package asker says who has asked for something, and whether that one may have this node send to a
// process which it names: what this node sends, it sends in its own name.
package asker

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Of is the node that has asked: that at the other end of a connection, as nodes.Message.Conn and
// nodes.ConnOf give it, or this one if c is nil.
func Of(n *nodes.Node, c *nodes.Conn) string {
	if c == nil {
		return n.Name()
	}
	return c.Name()
}

// MaySend tells whether this node may send to a process, and monitor it, because the asker has
// named it: Config.Rules let the asker send there, and there can be such a process. A runtime
// system ends the connection over a message to one that it cannot have made.
func MaySend(n *nodes.Node, c *nodes.Conn, to ei.Pid) bool {
	return otp.Possible(to, to.Node) && n.AllowsProcess(Of(n, c), nodes.MaySend, to)
}
