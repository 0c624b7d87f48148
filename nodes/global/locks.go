package global

import (
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// A lock is a resource that one requester has, by one or several processes.
type lock struct {
	resource  ei.Term
	requester string // its encoding
	asked     ei.Term
	holders   []heldBy
	cost      int // bytes
}

// newLock makes a lock without holders.
func newLock(resource, requester string, term, asked ei.Term) *lock {
	return &lock{resource: term, requester: requester, asked: asked, cost: keptCost + 2*len(resource) + 2*len(requester)}
}

// putLockInto and takeLock change the table of locks.
func (c *server) putLockInto(key string, l *lock) {
	c.takeLock(key)
	c.locks[key] = l
	c.bytes += l.cost
}

func (c *server) takeLock(key string) {
	if l := c.locks[key]; l != nil {
		c.bytes -= l.cost
		delete(c.locks, key)
	}
}

type heldBy struct {
	resource string
	pid      ei.Pid
	ref      ei.Ref // the monitor
}

// globalKey is the key of the resource that protects the names.
var globalKey, _, _ = keyOf(ei.Atom("global"))

func (l *lock) heldBy(pid ei.Pid) bool {
	return slices.ContainsFunc(l.holders, func(h heldBy) bool { return h.pid == pid })
}

// requesterOf is the requester's key in {Resource, Requester} if it is the lock's, else "".
func (l *lock) requesterOf(id ei.Term) string {
	t, ok := id.(ei.Tuple)
	if !ok || len(t) != 2 {
		return ""
	}
	if key, _, ok := keyOf(t[1]); ok && key == l.requester {
		return key
	}
	return ""
}

// mayLock tells whether a node may have a lock. Only members may have that of the names: another
// node, which was left and does not know it yet, say, has other ones.
func (c *server) mayLock(node string, id ei.Term) bool {
	t, ok := id.(ei.Tuple)
	return node == c.self || c.isMember(node) || !ok || len(t) != 2 || !isAtom(t[0], "global")
}

// setLock locks a resource for a requester, on behalf of a process; false if another requester has
// it.
func (c *server) setLock(pid ei.Pid, id ei.Term) bool {
	t, ok := id.(ei.Tuple)
	if !ok || len(t) != 2 {
		return false
	}
	resource, term, ok := keyOf(t[0])
	requester, asked, ok2 := keyOf(t[1])
	if !ok || !ok2 {
		return false
	}
	l := c.locks[resource]
	switch {
	case l != nil && l.requester != requester:
		return false
	case l != nil && l.heldBy(pid):
		return true
	case string(pid.Node) == c.self:
	case c.held[pid.Node] >= maxLocks || l == nil && resource != globalKey && c.isFull(keptCost+2*len(resource)+2*len(requester)):
		c.out.warn("global: a node has too many locks", "peer", pid.Node)
		return false
	}
	ref, ok := c.out.monitor(pid)
	if !ok {
		return false
	}
	if l == nil {
		l = newLock(resource, requester, term, asked)
		c.putLockInto(resource, l)
	}
	h := heldBy{resource, pid, ref}
	l.holders = append(l.holders, h)
	c.lockOf[ref] = h
	c.held[pid.Node]++
	c.out.changed(changedLock, resource)
	return true
}

// delLock releases what setLock has locked.
func (c *server) delLock(pid ei.Pid, id ei.Term) {
	t, ok := id.(ei.Tuple)
	if !ok || len(t) != 2 {
		return
	}
	resource, _, ok := keyOf(t[0])
	if l := c.locks[resource]; ok && l != nil && l.requesterOf(id) != "" {
		c.release(resource, pid, false)
	}
}

// release takes a process off the holders of a lock; down: because it is gone.
func (c *server) release(resource string, pid ei.Pid, down bool) {
	l := c.locks[resource]
	if l == nil {
		return
	}
	i := slices.IndexFunc(l.holders, func(h heldBy) bool { return h.pid == pid })
	if i < 0 {
		return
	}
	ref := l.holders[i].ref
	l.holders = slices.Delete(l.holders, i, i+1)
	delete(c.lockOf, ref)
	c.out.demonitor(ref)
	if c.held[pid.Node]--; c.held[pid.Node] <= 0 {
		delete(c.held, pid.Node)
	}
	if len(l.holders) == 0 {
		c.takeLock(resource)
		if resource == globalKey {
			c.Downed = down
			c.unlocked()
		}
	}
	c.out.changed(changedLock, resource)
}
