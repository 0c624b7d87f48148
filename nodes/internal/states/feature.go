package states

// The features of states. Each stands for mandatory fields that versions before it did not know, so that one of those is found out at
// hello, and not when the node stands still. What the first version had is the format itself, and has no name. A field that is only
// written where it has something to say (given) is asked for only then: without it an earlier version can go on.
const (
	// FeatureNodes: mailboxes that hear of nodes which come and go, MonitorNodes.
	FeatureNodes = "cnode-state-monitor-nodes"
	// FeatureTransports: listeners over another transport than the first of its name.
	FeatureTransports = "cnode-state-transports-of-one-name"
	// FeatureWays: ways to other workers that wait for the ones before them to end; of a worker.
	FeatureWays = "cnode-state-coming-ways"
	// FeatureWorker is the form of what a worker hands over. Whoever does not know it refuses, or is refused, before anything stops.
	FeatureWorker = "cnode-worker-state-2"
	// EarlierWorker is the same without a roll of names, which can be read still.
	EarlierWorker = "cnode-worker-state-1"
)

// Known are the features that this version understands in the state of a node or of a front.
func Known() []string { return []string{FeatureNodes, FeatureTransports} }

// WorkerKnown are those of a worker's, which has a version of its own.
func WorkerKnown() []string { return append(Known(), FeatureWorker, EarlierWorker, FeatureWays) }
