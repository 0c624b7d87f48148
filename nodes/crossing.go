package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Links and monitors between processes of a peer and those of another worker pass through a branch. The worker that has the connection
// remembers them, so that when the other worker dies it can tell the peer of the end of each process that the peer's processes had a link
// with or a monitor on.

// A crossing is a link between a process of the peer and one of the other worker.
type crossing struct{ remote, local ei.Pid }

// crossings is what a branch remembers; guarded by the trunk's branching.
type crossings struct {
	links    map[crossing]struct{}
	monitors map[ei.Ref]crossMonitor
}

// A crossMonitor is a monitor that a process of the peer has on one of the other worker, by its pid or its name.
type crossMonitor struct {
	watcher ei.Pid
	pid     ei.Pid
	name    ei.Atom
}

// note remembers the link or monitor that a message begins or ends on its way through the branch c; inward: the message is from the peer.
// It is false if the end of the branch has been dealt with already: then the peer would not be told of the end of the link or monitor.
func (c *Conn) note(m *Message, inward bool) bool {
	switch m.Op {
	case dist.OpLink, dist.OpUnlinkID, dist.OpUnlink, dist.OpExit, dist.OpMonitorP, dist.OpDemonitorP, dist.OpMonitorPExit,
		dist.OpSpawnReply:
	default:
		return true
	}
	l := crossing{m.To, m.From}
	if inward {
		l = crossing{m.From, m.To}
	}
	c.trunk.branching.Lock()
	defer c.trunk.branching.Unlock()
	if c.trunk.branches[c.worker] != c {
		return false
	}
	switch {
	case m.Op == dist.OpLink:
		c.crossed.link(l)
	case m.Op == dist.OpSpawnReply:
		if pid, ok := spawnedBy(m); ok && m.Flags&dist.SpawnLinked != 0 {
			c.crossed.link(crossing{pid, m.To})
		}
	case m.Op == dist.OpUnlinkID || m.Op == dist.OpUnlink || m.Op == dist.OpExit:
		delete(c.crossed.links, l)
	case inward && m.Op == dist.OpMonitorP: // monitors that the other worker's processes have, that worker knows itself
		c.crossed.watch(m.Ref, crossMonitor{m.From, m.To, m.ToName})
	case inward && m.Op == dist.OpDemonitorP || !inward && m.Op == dist.OpMonitorPExit:
		delete(c.crossed.monitors, m.Ref)
	}
	return true
}

func (s *crossings) link(l crossing) {
	put(&s.links, l, struct{}{})
}

func (s *crossings) watch(ref ei.Ref, m crossMonitor) {
	put(&s.monitors, ref, m)
}

// branchOfMonitor is the branch that a monitor of the peer's has gone through.
func (c *Conn) branchOfMonitor(ref ei.Ref) *Conn {
	c.branching.Lock()
	defer c.branching.Unlock()
	for _, b := range c.branches {
		if _, ok := b.crossed.monitors[ref]; ok {
			return b
		}
	}
	return nil
}

// loseBranch deals with the end of a branch, which ends with the connection or because the other worker has died. In the latter case the peer is
// told that the other worker's processes were killed.
func (c *Conn) loseBranch(b *Conn) {
	c.branching.Lock()
	if c.branches[b.worker] == b {
		delete(c.branches, b.worker)
	}
	lost := b.crossed
	b.crossed = crossings{}
	c.branching.Unlock()
	if c.Err() != nil {
		return
	}
	killed := exitReason(ei.Atom("killed"))
	for l := range lost.links {
		sendExit(c.tell, l.local, l.remote, killed)
	}
	for ref, m := range lost.monitors {
		sendDown(c.tell, m.pid, watcher{m.watcher, m.name}, ref, killed)
	}
}
