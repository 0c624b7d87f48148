package nodes

import (
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/states"
)

// StateFeatures names what Restore, RestoreFront and Stage understand beyond the first version of a
// state: for Terms.Know of a handoff.Acceptance.
func StateFeatures() []string { return states.Known() }

// StateFeatures names those of the function StateFeatures' features that the node's state needs at
// present: Needs of its Offer. A program that does not know them then refuses before anything
// stops, rather than when it reads the state.
func (n *Node) StateFeatures() (needs []string) {
	if slices.ContainsFunc(n.procs.all(), (*Mailbox).monitorsNodes) {
		needs = append(needs, states.FeatureNodes)
	}
	if slices.ContainsFunc(n.Listeners(), func(l *Listener) bool { c, _ := n.transportIDOf(l.tr); return c.Place > 0 }) {
		needs = append(needs, states.FeatureTransports)
	}
	return needs
}

func (b *Mailbox) monitorsNodes() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nodeTypes != 0
}

// StateFeatures is Node.StateFeatures for the front's node.
func (f *Front) StateFeatures() []string { return f.n.StateFeatures() }

// needs are the features that a worker's state needs, among them those that only workers know.
func (w *Worker) needs() []string {
	needs := w.n.StateFeatures()
	if len(w.p.awaitsNext()) > 0 {
		needs = append(needs, states.FeatureWays)
	}
	return needs
}
