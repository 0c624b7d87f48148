package nodes

import (
	"errors"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/states"
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

// identifiers counts a node's pids and references, so that no two are equal.
type identifiers struct {
	pid    atomic.Uint64
	ref    atomic.Uint64
	worker int // of a node with workers: the number of this one, which is in all of them; 0: none
}

// makePid makes the pid that has number i.
func (s *identifiers) makePid(name ei.Atom, i uint64, creation uint32) ei.Pid {
	serial := uint32(i >> pidBits)
	if s.worker != 0 {
		serial = serial<<partBits | uint32(s.worker)
	}
	return ei.Pid{Node: name, ID: uint32(i & (1<<pidBits - 1)), Serial: serial, Creation: creation}
}

// refBits are what the references that are made here have in their third word.
func (s *identifiers) refBits() uint32 { return uint32(s.worker) << partOfRef }

// home tells in which other worker a process was made, and therefore is; 0 if it was made here, or
// in another node.
func (n *Node) home(pid ei.Pid) int {
	if n.ids.worker == 0 {
		return 0
	}
	if at := bonds.WorkerOf(pid); at != n.ids.worker && n.isOwn(pid.Node, pid.Creation) {
		return at
	}
	return 0
}

// holder tells in which other worker a reference was made; 0 if it was made here, or in another
// node.
func (n *Node) holder(r ei.Ref) int {
	if n.ids.worker == 0 || r.Len < 3 || !n.isOwn(r.Node, r.Creation) {
		return 0
	}
	if at := int(r.ID[2] >> partOfRef); at != n.ids.worker {
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

// key is the number of a pid among those of its node.
func key(p ei.Pid) uint64 { return uint64(p.Serial)<<32 | uint64(p.ID) }

// spareIDs is how many pids and references a process may still make (NewPid, NewRef) after it has
// described its node for another process, which makes others.
const spareIDs = 1 << 16

// pidBits is how many bits of a pid's number are its id; the bits above go into its serial.
const pidBits = 28

// workerBits is how many bits of the serial the pids of one Config.Worker have; the bits above are
// its number.
const workerBits = 16

// NewPid makes a pid of this node that no process has. A dynamic node without a name has none:
// ErrUnnamed. It is ei_make_pid.
func (n *Node) NewPid() (ei.Pid, error) {
	name, creation, err := n.identity()
	if err != nil {
		return ei.Pid{}, wrap("make pid", "", err)
	}
	return n.ids.makePid(name, n.ids.pid.Add(1), creation), nil
}

// callBit, in the third word of a reference, says that the reference is a call's. So an answer that
// comes too late is recognised, also in another process, and nothing needs to be kept about calls
// that are over. It is above the counter and below partOfRef.
const callBit = 1 << 15

// newCallRef makes the reference of a call.
func (n *Node) newCallRef() (ei.Ref, error) {
	ref, err := n.NewRef()
	ref.ID[2] |= callBit
	return ref, err
}

// NewRef makes a reference of this node. A dynamic node without a name has none: ErrUnnamed. It is
// ei_make_ref.
func (n *Node) NewRef() (ei.Ref, error) {
	name, creation, err := n.identity()
	if err != nil {
		return ei.Ref{}, wrap("make reference", "", err)
	}
	i := n.ids.ref.Add(1)
	last := uint32(i>>50) | n.ids.refBits()
	return ei.Ref{Node: name, Creation: creation, Len: 3, ID: [5]uint32{uint32(i & (1<<18 - 1)), uint32(i >> 18), last}}, nil
}

const (
	// partBits is how many bits of a pid's serial say in which worker the pid was made: those that
	// every peer regards as part of the serial.
	partBits = states.PartBits
	maxPart  = states.MaxPart
	// partOfRef is the position of these bits in the third word of a reference.
	partOfRef = 16
)
