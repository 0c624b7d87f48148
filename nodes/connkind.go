package nodes

// The workers of a node are linked by connections of their own, over which they speak the distribution protocol like nodes do, so that
// order, back-pressure, links and monitors are those of any connection.
//
//	a sibling   joins two workers: what processes of the node say to each other
//	a branch    joins a worker that has the connection to a peer, the trunk, with a worker that has not: what the peer has for
//	            processes of the latter, and what they say. The latter's end is its shadow of the connection: there it is the
//	            connection to that peer.
//
// A shadow ends with the connection, and a branch with the other worker.

// A connKind is one of these, or direct.
type connKind int

const (
	direct connKind = iota // to a peer
	shadow
	sibling
	branch
)

func (c *Conn) kind() connKind {
	switch {
	case c.trunk != nil:
		return branch
	case c.worker != 0:
		return sibling
	case c.shadow:
		return shadow
	}
	return direct
}

// toOthers is the connection, or nil if it is one to another worker of this node.
func (c *Conn) toOthers() *Conn {
	if c == nil || c.kind() == sibling {
		return nil
	}
	return c
}
