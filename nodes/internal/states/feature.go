package states

// The forms of a state, as features that a hand-off names at hello: a process that does not know
// the form refuses, or is refused, before anything stops. A form changes its name with its
// mandatory fields.
const (
	// Feature is the form of the state of a connection, a node or a front.
	Feature = "cnode-state-1"
	// FeatureWorker is the form of a worker's state.
	FeatureWorker = "cnode-worker-state-1"
)
