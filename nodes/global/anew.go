package global

import (
	"time"

	"github.com/cnode-go/cnode/ei"
)

// When the server has been ended, or the locker, what other nodes have told it meanwhile is lost:
// names and nodes that came and went, locks. In OTP the whole node ends with either. Here it leaves
// its partition as if it had ended, and meets the others again, with the names of its own
// processes: what they have they tell in the sessions that follow.
//
// A node that takes another one for known begins no session with it while both are connected. So
// each is asked to disconnect by {remove_connection, Node}, which is not taken for a loss that
// others have to be told of. When all have, they are connected to again.

const (
	// partTime is how long a node may take to disconnect; then this one does.
	partTime = 2 * time.Second
	// returnTime is how long registrations wait for a node to have its names in common with this one
	// again.
	returnTime = 30 * time.Second
	// knowTime is how long two nodes may take, when partitions become one, until each knows the
	// other.
	knowTime = 5 * time.Second
)

func (c *server) removeMe() ei.Term {
	return ei.Tuple{ei.Atom("remove_connection"), ei.Atom(c.self)}
}

// anew leaves all nodes, and begins anew with each.
func (c *server) anew() {
	c.Broken, c.Downed = false, false
	for node := range c.Up {
		if _, returns := c.Returning[node]; returns || c.isMember(node) {
			c.part(node)
		} else {
			c.mayPart(node)
		}
	}
	for node := range c.known { // it is about to be joined
		c.forget(node)
	}
	for key, n := range c.names {
		if string(n.pid.Node) != c.self {
			c.deleteName(key)
		}
	}
	c.settle()
}

// part leaves a node that is connected, to meet it again.
func (c *server) part(node string) {
	c.Returning[node] = true
	c.tell(node, c.removeMe())
	c.leave(node)
	c.out.after(returnTime, func() { c.returned(node) })
}

// mayPart asks a node to disconnect that this one does not know: it may know this one, by the word
// of a third one. If it does not, or takes no part in global, it stays connected.
func (c *server) mayPart(node string) {
	c.Asked[node], c.Removing[node] = true, true
	c.tell(node, c.removeMe())
	c.restart(node)
	c.out.after(partTime, func() { c.stays(node) })
}

func (c *server) stays(node string) {
	if c.Asked[node] {
		delete(c.Asked, node)
		delete(c.Removing, node)
	}
}

// parted is called with the end of the connection to a node.
func (c *server) parted(node string) {
	connected, returns := c.Returning[node]
	if returns && !connected { // it is lost, now
		c.returned(node)
		return
	}
	if returns || c.Asked[node] {
		delete(c.Asked, node)
		c.Returning[node] = false
		c.meetAgain()
	}
}

// meetAgain connects to the nodes that return when the last one is gone: so none hears of this node
// from another one that it still has it.
func (c *server) meetAgain() {
	for _, connected := range c.Returning {
		if connected {
			return
		}
	}
	for node := range c.Returning {
		c.out.join(node)
	}
}

// returned: a node that was left has its names in common with this one again, or is not waited for.
func (c *server) returned(node string) {
	if _, returns := c.Returning[node]; !returns {
		return
	}
	connected := c.Returning[node]
	delete(c.Returning, node)
	if connected {
		c.meetAgain()
	}
	if _, up := c.Up[node]; !up {
		c.nodeSynced(node)
	}
	c.settle()
}

// settled answers when no node is returning: a change of the names would not reach it.
func (c *server) settled(to letter) {
	if len(c.Settles) < maxWaiters {
		c.Settles = append(c.Settles, to)
	}
	c.settle()
}

func (c *server) settle() {
	if c.Broken || len(c.Returning) > 0 {
		return
	}
	for _, to := range c.Settles {
		c.reply(to, ei.Atom("ok"))
	}
	c.Settles = nil
}

// expectKnown begins anew with a node that knows this one, and is not known to it in time: the word
// of a third one has not come to both of them.
func (c *server) expectKnown(s *session) {
	c.out.after(knowTime, func() {
		if c.Sessions[s.Node] == s {
			c.out.warn("global: the node knows this one, which does not know it: both begin anew", "peer", s.Node)
			c.part(s.Node)
		}
	})
}

// confirmed: a node that was joined has said whether it knows this one.
func (c *server) confirmed(node string, knows bool) {
	delete(c.Joining, node)
	if !knows {
		c.unknownAt(node)
	}
}

// unknownAt begins anew with a node that is known, and does not know this one.
func (c *server) unknownAt(node string) {
	_, isKnown := c.known[node]
	if _, up := c.Up[node]; up && isKnown {
		c.out.warn("global: the node does not know this one, which knows it: both begin anew", "peer", node)
		c.part(node)
	}
}
