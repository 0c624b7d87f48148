package global

import (
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A loss is what a node has last reported about its connection to another one.
type loss struct {
	Xcre, ID ei.Term
	At       int64 // in seconds since 1970
}

// nodedown is the end of the connection to a node; by is who says so.
func (c *server) nodedown(node string, by ei.Pid) {
	if was, ok := c.Up[node]; !ok || was != by {
		return // another worker has the node already
	}
	delete(c.Up, node)
	switch {
	case c.Removing[node]:
		delete(c.Removing, node)
	case c.isMember(node): // else no partition has lost it: a handshake that ended at one side only, say
		c.reportLoss(node)
	}
	c.forget(node)
	c.parted(node)
}

// unreachable: a node that others know cannot be connected to.
func (c *server) unreachable(node string) {
	if _, up := c.Up[node]; up {
		return
	}
	c.returned(node)
	if _, isKnown := c.known[node]; isKnown {
		c.reportLoss(node)
		c.forget(node)
	}
}

// missed: a change could not be told to a node, which is lost therefore, as if a connection to it
// had been: it does not have the same names any more. When it is connected again there is a
// session.
func (c *server) missed(node string) {
	if _, isKnown := c.known[node]; !isKnown {
		return
	}
	c.reportLoss(node)
	c.leave(node)
	if c.Removing[node] {
		c.out.disconnect(node)
	}
}

// cutOff: the worker that had the connection to a node has died. That node reports it; the others
// are not to leave that one, too.
func (c *server) cutOff(node string) {
	delete(c.Up, node)
	delete(c.Removing, node)
	c.forget(node)
}

// forget takes a node out of the partition.
func (c *server) forget(node string) {
	c.dropNode(node)
	if s := c.Sessions[node]; s != nil {
		c.endSession(s)
	}
	delete(c.Early, node)
	delete(c.stale, node)
	delete(c.Joining, node)
	if _, ok := c.known[node]; ok {
		delete(c.known, node)
		c.out.changed(changedKnown, node)
	}
	delete(c.Synced, node)
	c.nodeSynced(node)
}

// reportLoss tells the nodes of the partition that this one has lost the connection to one of them:
// see prevent_overlapping_partitions, kernel(6).
func (c *server) reportLoss(node string) {
	if c.silent {
		return
	}
	c.apart(node)
	c.multicast(ei.Tuple{
		ei.Atom("lost_connection"), ei.Atom(c.self), ei.Int(c.Xcre), ei.Int(c.tag()), ei.Atom(node),
	}, node)
}

// multicast tells all nodes that are known, or about to be.
func (c *server) multicast(t ei.Term, but string) {
	for n := range c.known {
		if n != but {
			c.tell(n, t)
		}
	}
	for n, s := range c.Sessions {
		if _, isKnown := c.known[n]; n != but && s.Begun && !isKnown {
			c.tell(n, t)
		}
	}
}

// isMember tells whether a node is known, or about to be.
func (c *server) isMember(node string) bool {
	if _, ok := c.known[node]; ok {
		return true
	}
	s := c.Sessions[node]
	return s != nil && s.Begun
}

// lostConnection: one node reports that it has lost another one. All others leave that one, so that
// partitions do not overlap.
func (c *server) lostConnection(from string, m ei.Tuple) {
	a, ok1 := m[1].(ei.Atom)
	b, ok2 := m[4].(ei.Atom)
	if !ok1 || !ok2 || c.silent || !c.isMember(from) || string(a) == c.self {
		return
	}
	if !isKeepable(m[2], maxTagLen) || !isKeepable(m[3], maxTagLen) {
		return
	}
	key := [2]string{string(a), string(b)}
	if was, ok := c.Lost[key]; ok && ei.Identical(was.Xcre, m[2]) && ei.Compare(m[3], was.ID) <= 0 {
		return
	}
	leave := string(b)
	if leave == c.self {
		leave = string(a)
	}
	if c.noteLost(key, loss{m[2], m[3], time.Now().Unix()}) && !c.left[leave] {
		c.multicast(m, string(a))
	}
	if !c.isMember(leave) {
		c.disown(leave)
		return
	}
	c.out.warn("global: the node is asked to disconnect, so that partitions do not overlap", "peer", leave,
		"lost", string(b), "by", string(a))
	c.tell(leave, c.removeMe())
	c.leave(leave)
	c.apart(leave)
}

// apart notes that all nodes have been told to leave one: by a report of this one, or by the first
// that it has sent on. When many nodes end at once, each of the others reports each of them; if all
// sent all of these on, their number would grow with the third power of the nodes'.
func (c *server) apart(node string) {
	if len(c.left) >= maxKnown {
		clear(c.left)
	}
	c.left[node] = true
}

// disown drops what this node has, or is about to have, by the word of others that have lost a node
// since: that node's own word is to come.
func (c *server) disown(node string) {
	isOf := func(n *name) bool { return string(n.pid.Node) == node }
	for _, s := range c.Sessions {
		s.Names = slices.DeleteFunc(s.Names, func(n name) bool { return isOf(&n) })
		s.Ops = slices.DeleteFunc(s.Ops, func(o op) bool { return isOf(&o.name) })
		if s.His != nil {
			s.His.Ops = slices.DeleteFunc(s.His.Ops, func(o op) bool { return isOf(&o.name) })
			s.His.Known = slices.DeleteFunc(s.His.Known, func(v nodeVersion) bool { return v.Node == node })
		}
	}
	for key, n := range c.names {
		if isOf(n) {
			c.deleteName(key)
		}
	}
}

// leave forgets a node whose connection is about to end, which is no loss then. The node may not
// know that, if it does not know this one: so the connection is ended after a while.
func (c *server) leave(node string) {
	if _, up := c.Up[node]; up {
		c.Removing[node] = true
		c.out.after(partTime, func() {
			if c.Removing[node] && !c.Asked[node] {
				c.out.disconnect(node)
			}
		})
	}
	c.forget(node)
}

// noteLost remembers a report, so that it is sent on once. If there is no room, it is not: it would
// go round for ever.
func (c *server) noteLost(key [2]string, l loss) bool {
	if _, ok := c.Lost[key]; !ok && len(c.Lost) >= maxLost {
		maps.DeleteFunc(c.Lost, func(_ [2]string, old loss) bool { return time.Duration(l.At-old.At)*time.Second > lostMemory })
		if len(c.Lost) >= maxLost {
			return false
		}
	}
	c.Lost[key] = l
	return true
}

// removeConnection: a node wants the connection to end. So may this one, which has forgotten it.
func (c *server) removeConnection(from string) {
	if !c.isMember(from) && !c.Removing[from] {
		return
	}
	c.out.warn("global: disconnected, so that partitions do not overlap", "peer", from)
	c.leave(from)
	c.out.disconnect(from)
}
