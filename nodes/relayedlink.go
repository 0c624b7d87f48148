package nodes

import (
	"github.com/cnode-go/cnode/ei"
)

// Links and monitors between processes of a peer and those of another worker pass through a relay
// link. The worker that has the connection remembers them, so that when the other worker dies it
// can tell the peer of the end of each process that the peer's processes had a link with or a
// monitor on.

// A relayedLink is a link between a process of the peer and one of the other worker.
type relayedLink struct{ remote, local ei.Pid }

// relayedBonds is what a relay link remembers; guarded by the peer link's branching.
type relayedBonds struct {
	links    map[relayedLink]struct{}
	monitors map[ei.Ref]relayedMonitor
}

// A relayedMonitor is a monitor that a process of the peer has on one of the other worker, by its
// pid or its name.
type relayedMonitor struct {
	watcher ei.Pid
	pid     ei.Pid
	name    ei.Atom
}

func (s *relayedBonds) link(l relayedLink) {
	put(&s.links, l, struct{}{})
}

func (s *relayedBonds) watch(ref ei.Ref, m relayedMonitor) {
	put(&s.monitors, ref, m)
}
