package nodes

import (
	"context"
	"slices"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Offer returns a handoff.Offer that hands the node over to another process, with all that the
// other side has to be told before anything stops: use it as Offer().Give(ctx, channel). Offer
// itself does nothing and waits for nothing. Fields may be changed before it is used: Deadlines,
// say, or Freeze and Terms.Require if the program hands over more than its node. The other side is
// a handoff.Acceptance with Config.Terms, whose Stage calls Restore.
func (n *Node) Offer() *handoff.Offer {
	return &handoff.Offer{
		Terms:   handoff.Terms{What: n.Name()},
		Count:   n.descriptors,
		Plugins: n.plugins,
		Needs:   n.StateFeatures,
		Freeze:  func(ctx context.Context) (handoff.Frozen, error) { return n.Freeze(ctx) },
	}
}

// Terms are those of a handoff.Acceptance whose Stage calls Restore, or RestoreFront, with cfg: the
// name (empty if cfg does not set one), the plug-ins, and the features of states that Restore
// knows.
func (cfg Config) Terms() handoff.Terms {
	return handoff.Terms{What: cfg.Name, Plugins: cfg.plugins(), Know: StateFeatures()}
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
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
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

// descriptors counts the descriptors that the node takes in another process, at least: for each
// connection and each listener its own, and one for waiting.
func (n *Node) descriptors() int { return 2 * (len(n.Peers()) + len(n.Listeners())) }
