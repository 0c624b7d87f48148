package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What the moves of nodes and of single connections have in common: how long they may take, why
// they fail, how states are written, and what the two processes agree on before anything stops.

const (
	// freezeBudget is how long a connection may take to come to rest. If a plug-in's callback does
	// not return in that time, the connection stays here.
	freezeBudget = 2 * time.Second
	// freezeBudgetMost is how long a node may take, which has more time the larger its state is.
	freezeBudgetMost = 5 * time.Second
	// shakeGrace is how long a freeze waits for handshakes that peers have started, and for calls
	// that are left for later; a handshake that takes longer is cut off when the node is released.
	shakeGrace = 200 * time.Millisecond
	// freezers is how many connections are frozen at once.
	freezers = 16
)

// ErrDraining: when the drain time was over, functions or handlers were still running, or requests
// of the peer had no answer.
var ErrDraining = errors.New("functions or handlers did not finish in the drain time")

// errWorkers: the connection's ways to other workers would have to move with it.
var errWorkers = fmt.Errorf("a node with workers moves by workers.Front only, its Freeze and UpgradeWorkers: %w", errors.ErrUnsupported)

// ErrOtherNode: the state is that of a connection of another node, or of another incarnation of
// this one.
var ErrOtherNode = errors.New("the state belongs to another node")

// ErrNoPlugin: no transport of this node has the name of the plug-in that the state was made with,
// or fewer have it than in the other process: see Config.Transports.
var ErrNoPlugin = errors.New("no such plug-in here")

// Why a state could not be read; the text of the error that wraps it says where, "connection 3,
// field 13".
var (
	// ErrState: the bytes are not a state, or not one of this kind.
	ErrState = form.ErrMalformed
	// ErrStateFormat: the state has a format, or a field that must be understood, that this version
	// does not know.
	ErrStateFormat = form.ErrFormat
)

// clearKeys zeroes what plug-ins have put into a state, and nothing else: if it was staged in this
// process, parts of it are in use.
func clearKeys(state []byte) {
	for _, key := range states.Keys(state) {
		clear(key)
	}
}

// Offer returns a handoff.Offer that hands the node over to another process, with all that the
// other side has to be told before anything stops: use it as Offer().Give(ctx, channel). Offer
// itself does nothing and waits for nothing. Fields may be changed before it is used: Deadlines,
// say, or Freeze and Terms.Require if the program hands over more than its node. The other side is
// a handoff.Acceptance with Config.Terms, whose Stage calls Restore.
func (n *Node) Offer() *handoff.Offer {
	return &handoff.Offer{
		Terms:   handoff.Terms{What: n.Name(), Require: []string{states.Feature}},
		Count:   n.descriptors,
		Plugins: n.plugins,
		Static:  func(context.Context) ([]byte, error) { return n.size().Append(nil), nil },
		Freeze:  func(ctx context.Context) (handoff.Frozen, error) { return n.Freeze(ctx) },
	}
}

// Terms are those of a handoff.Acceptance whose Stage calls Restore, or workers.Restore, with cfg:
// the name (empty if cfg does not set one), the plug-ins, and the form of the states.
func (cfg Config) Terms() handoff.Terms {
	return handoff.Terms{What: cfg.Name, Plugins: cfg.plugins(), Know: []string{states.Feature}}
}

// plugins are the names of the plug-ins that a node of this Config finds: see Node.carrier.
func (cfg Config) plugins() []string {
	all := append([]transport.Transport{transport.TCP(), transport.Unix(), cfg.Transport}, cfg.Transports...)
	for _, at := range cfg.Also {
		all = append(all, at.Transport)
	}
	return pluginNames(all)
}

// plugins are the names of the plug-ins that the connections and listeners need.
func (n *Node) plugins() []string {
	var all []transport.Transport
	for _, l := range n.Listeners() {
		all = append(all, l.tr)
	}
	for _, c := range n.connections() {
		all = append(all, c.tr)
	}
	return pluginNames(all)
}

// pluginNames are the names of transports, each once; nil ones are left out.
func pluginNames(all []transport.Transport) (names []string) {
	for _, tr := range all {
		if tr != nil && !slices.Contains(names, tr.Name()) {
			names = append(names, tr.Name())
		}
	}
	return names
}

// spareDescriptors are for what a node opens in another process beside its connections and
// listeners, and for those of them that are so busy that they wait with a descriptor of their own.
const spareDescriptors = 64

// descriptors counts the descriptors that the node takes in another process, at least.
func (n *Node) descriptors() int { return len(n.Peers()) + len(n.Listeners()) + spareDescriptors }
