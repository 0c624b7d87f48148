package nodes

import "slices"

// The features of states. Each stands for mandatory fields that versions before it did not know, so that one of those is found out at
// hello, and not when the node stands still. What the first version had is the format itself, and has no name. A field that is only
// written where it has something to say (given) is asked for only then: without it an earlier version can go on.
const (
	// featureNodes: mailboxes that hear of nodes which come and go, MonitorNodes.
	featureNodes = "cnode-state-monitor-nodes"
	// featureTransports: listeners over another transport than the first of its name.
	featureTransports = "cnode-state-transports-of-one-name"
	// featureWays: ways to other workers that wait for the ones before them to end; of a worker.
	featureWays = "cnode-state-coming-ways"
)

// StateFeatures names what Restore, RestoreFront and Stage understand beyond the first version of a state: for Terms.Know of a
// handoff.Acceptance.
func StateFeatures() []string { return []string{featureNodes, featureTransports} }

// workerKnows is that for a worker, whose state has a version of its own.
func workerKnows() []string {
	return append(StateFeatures(), workerFeature, earlierWorker, featureWays)
}

// StateFeatures names which of these the node's state needs as it is now: Needs of its Offer. A program that does not know them
// then refuses before anything stops, rather than when it reads the state.
func (n *Node) StateFeatures() (needs []string) {
	if slices.ContainsFunc(n.procs.all(), (*Mailbox).monitorsNodes) {
		needs = append(needs, featureNodes)
	}
	if slices.ContainsFunc(n.Listeners(), func(l *Listener) bool { c, _ := n.carriageOf(l.tr); return c.place > 0 }) {
		needs = append(needs, featureTransports)
	}
	return needs
}

func (b *Mailbox) monitorsNodes() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nodeTypes != 0
}

// StateFeatures is that of the front's node.
func (f *Front) StateFeatures() []string { return f.n.StateFeatures() }

// needs are those of a worker, which only workers know.
func (w *Worker) needs() []string {
	needs := w.n.StateFeatures()
	if len(w.p.awaitsNext()) > 0 {
		needs = append(needs, featureWays)
	}
	return needs
}
