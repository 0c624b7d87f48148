// Package ids makes a node's pids and references, so that no two are equal.
package ids

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A Source counts the pids and references of one process.
type Source struct {
	Pids, Refs atomic.Uint64 // how many were made, Init's beginning included
	Worker     int           // of a node with workers: the number of this one, which is in all of them; 0: none
}

const (
	// PidBits is how many bits of a pid's number are its id; the bits above go into its serial. There,
	// states.PartBits say in which worker it was made: those that every peer regards as part of the
	// serial.
	PidBits = 28
	// workerBits is how many bits of the serial the pids of one Config.Worker have; the bits above are
	// its number.
	workerBits = 16
	// partOfRef is the position of the worker's bits in the third word of a reference.
	partOfRef = 16
	// callBit, in the third word of a reference, says that the reference is a call's. So an answer
	// that comes too late is recognised, also in another process, and nothing needs to be kept about
	// calls that are over. It is above the counter and below partOfRef.
	callBit = 1 << 15
	// spare is how many pids and references a process may still make after it has described its node
	// for another process, which makes others.
	spare = 1 << 16
)

// Init begins with the pids of a Config.Worker.
func (s *Source) Init(worker uint16) {
	s.Pids.Store(uint64(worker) << (PidBits + workerBits))
	s.Refs.Store(rand.Uint64() >> 1)
}

// GoOn goes on from the numbers of another process.
func (s *Source) GoOn(pids, refs uint64) {
	s.Pids.Store(max(pids+spare, s.Pids.Load()))
	s.Refs.Store(refs + spare)
}

// Pid makes a pid.
func (s *Source) Pid(name ei.Atom, creation uint32) ei.Pid {
	i := s.Pids.Add(1)
	serial := uint32(i >> PidBits)
	if s.Worker != 0 {
		serial = serial<<states.PartBits | uint32(s.Worker)
	}
	return ei.Pid{Node: name, ID: uint32(i & (1<<PidBits - 1)), Serial: serial, Creation: creation}
}

// Ref makes a reference.
func (s *Source) Ref(name ei.Atom, creation uint32) ei.Ref {
	i := s.Refs.Add(1)
	last := uint32(i>>50) | uint32(s.Worker)<<partOfRef
	return ei.Ref{Node: name, Creation: creation, Len: 3, ID: [5]uint32{uint32(i & (1<<18 - 1)), uint32(i >> 18), last}}
}

// WorkerOf tells in which worker of its node a reference was made.
func WorkerOf(r ei.Ref) int { return int(r.ID[2] >> partOfRef) }

// ForCall is the reference as that of a call.
func ForCall(r ei.Ref) ei.Ref {
	r.ID[2] |= callBit
	return r
}

// IsCall tells whether a reference is that of a call.
func IsCall(r ei.Ref) bool { return r.ID[2]&callBit != 0 }

// Key is the number of a pid among those of its node.
func Key(p ei.Pid) uint64 { return uint64(p.Serial)<<32 | uint64(p.ID) }
