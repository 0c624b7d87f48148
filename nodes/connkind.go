package nodes

// The workers of a node are linked by connections of their own, over which they speak the
// distribution protocol like nodes do, so that order, back-pressure, links and monitors are those
// of any connection.
//
//	a worker link   joins two workers: what processes of the node say to each other
//	a relay link    joins a worker that has the connection to a peer, the peer link, with a
//	                worker that has not: what the peer has for processes of the latter, and
//	                what they say. The latter's end is its remote link: there it is the
//	                connection to that peer.
//
// A remote link ends with the connection, and a relay link with the other worker.

// A connKind is one of these, or direct.
type connKind int

const (
	direct connKind = iota // to a peer
	remoteLink
	workerLink
	relayLink
)

func (c *Conn) kind() connKind {
	switch {
	case c.peerLink != nil:
		return relayLink
	case c.worker != 0:
		return workerLink
	case c.remoteLink:
		return remoteLink
	}
	return direct
}

// toOthers is the connection, or nil if it is one to another worker of this node.
func (c *Conn) toOthers() *Conn {
	if c == nil || c.kind() == workerLink {
		return nil
	}
	return c
}
