package states

// The features of states. Each stands for mandatory fields that earlier versions do not know, so
// that such a version is detected at hello, and not when the node stands still already. The fields
// of the first version are the format itself, and have no feature. If a field is only written when
// it is not zero (form.Given), its feature is only required then: without the field an earlier
// version can go on.
const (
	// FeatureNodes: mailboxes that are told of nodes which come and go (MonitorNodes).
	FeatureNodes = "cnode-state-monitor-nodes"
	// FeatureTransports: listeners over another transport than the first of its name.
	FeatureTransports = "cnode-state-transports-of-one-name"
	// FeatureFragments: connections whose frames have distribution headers, and their fragments.
	FeatureFragments = "cnode-state-fragments"
	// FeatureAliases: mailboxes with aliases.
	FeatureAliases = "cnode-state-aliases"
	// FeatureHandover: mailboxes with a state of their own.
	FeatureHandover = "cnode-state-mailbox-handover"
	// FeatureWays: in the state of a worker, ways to other workers that wait for the ones before
	// them to end.
	FeatureWays = "cnode-state-coming-ways"
	// FeatureWorker is the form of a worker's state. A process that does not know it refuses, or is
	// refused, before anything stops.
	FeatureWorker = "cnode-worker-state-2"
	// EarlierWorker is that form without a table of names; it can still be read.
	EarlierWorker = "cnode-worker-state-1"
)

// Known are the features that this version understands in the state of a node or of a front.
func Known() []string {
	return []string{FeatureNodes, FeatureTransports, FeatureAliases, FeatureFragments, FeatureHandover}
}

// WorkerKnown are those that it understands in the state of a worker, whose form has a version of
// its own.
func WorkerKnown() []string { return append(Known(), FeatureWorker, EarlierWorker, FeatureWays) }
