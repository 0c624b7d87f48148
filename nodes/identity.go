package nodes

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/ids"
)

// Name is the node's name, alive@host; "" while a dynamic node has none. It is ei_thisnodename.
func (n *Node) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// Visible tells whether peers list the node in nodes(): Config.Visible.
func (n *Node) Visible() bool { return n.cfg.Visible }

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
		n.given.Store(&p.SelfName)
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

// home tells in which other worker a process was made, and therefore is; 0 if it was made here, or
// in another node.
func (n *Node) home(pid ei.Pid) int {
	if n.ids.Worker == 0 {
		return 0
	}
	if at := bonds.WorkerOf(pid); at != n.ids.Worker && n.isOwn(pid.Node, pid.Creation) {
		return at
	}
	return 0
}

// holder tells in which other worker a reference was made; 0 if it was made here, or in another
// node.
func (n *Node) holder(r ei.Ref) int {
	if n.ids.Worker == 0 || r.Len < 3 || !n.isOwn(r.Node, r.Creation) {
		return 0
	}
	if at := ids.WorkerOf(r); at != n.ids.Worker {
		return at
	}
	return 0
}

// isOwn tells whether an identifier was made by this node in its present life, not before it was
// last started.
func (n *Node) isOwn(node ei.Atom, creation uint32) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return string(node) == n.name && creation == n.creation
}

// NewPid makes a pid of this node that no process has. A dynamic node without a name has none:
// ErrUnnamed. It is ei_make_pid.
func (n *Node) NewPid() (ei.Pid, error) {
	name, creation, err := n.identity()
	if err != nil {
		return ei.Pid{}, wrap("make pid", "", err)
	}
	return n.ids.Pid(name, creation), nil
}

// newCallRef makes the reference of a call.
func (n *Node) newCallRef() (ei.Ref, error) {
	ref, err := n.NewRef()
	return ids.ForCall(ref), err
}

// NewRef makes a reference of this node. A dynamic node without a name has none: ErrUnnamed. It is
// ei_make_ref.
func (n *Node) NewRef() (ei.Ref, error) {
	name, creation, err := n.identity()
	if err != nil {
		return ei.Ref{}, wrap("make reference", "", err)
	}
	return n.ids.Ref(name, creation), nil
}
