package nodes

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Name is the node's name, alive@host; "" while a dynamic node has none. It is ei_thisnodename.
func (n *Node) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// Creation tells this incarnation of the node's name from earlier ones.
func (n *Node) Creation() uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.creation
}

// identity is the name and the creation that identifiers carry; to take it fixes the creation.
func (n *Node) identity() (ei.Atom, uint32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.name == "" {
		return "", 0, ErrUnnamed
	}
	n.used = true
	return ei.Atom(n.name), n.creation, nil
}

// takeName makes the name that a peer has given to a dynamic node its own.
func (n *Node) takeName(p dist.Peer) error {
	n.mu.Lock()
	named := n.name == ""
	if named {
		n.name, n.creation, n.settled = p.SelfName, p.SelfCreation, true
	}
	agreed := n.name == p.SelfName
	n.mu.Unlock()
	switch {
	case !agreed:
		return errNamed
	case named: // with mu unlocked: a Logger may ask for the name
		n.log.Info("named by peer", "name", p.SelfName, "peer", p.Name)
	}
	return nil
}

// errNamed says that another peer has named this node meanwhile.
var errNamed = errors.New("another peer named this node first")
