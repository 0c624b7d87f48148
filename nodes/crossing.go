package nodes

import (
	"github.com/cnode-go/cnode/ei"
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

func (s *crossings) link(l crossing) {
	put(&s.links, l, struct{}{})
}

func (s *crossings) watch(ref ei.Ref, m crossMonitor) {
	put(&s.monitors, ref, m)
}
