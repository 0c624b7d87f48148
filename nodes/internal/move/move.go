// Package move has what is common to all that stands still between two processes.
package move

import (
	"slices"
	"sync/atomic"
)

// A Frozen is what stands still, to be handed to another process: a handoff.Frozen. The first call
// of Thaw or Release counts; the others do nothing.
type Frozen struct {
	Bytes  []byte       // the state
	FDs    []int        // the descriptors, in the order that the state relies on
	GoOn   func()       // lets it go on here
	GiveUp func() error // ends it here: the other process has it
	// Keys are the parts of a state that are zeroed in the end: what plug-ins have put into it. nil:
	// there are none.
	Keys func(state []byte) [][]byte

	over atomic.Bool
}

// State is what another process needs, beside the descriptors, to go on.
func (f *Frozen) State() []byte { return f.Bytes }

// Descriptors are still those of what stands still: pass them on before Thaw or Release.
func (f *Frozen) Descriptors() []int { return slices.Clone(f.FDs) }

// Thaw lets it go on here.
func (f *Frozen) Thaw() {
	if f.end() {
		f.GoOn()
	}
}

// Release ends it in this process, for the other one has it. An error says what could not be freed
// here.
func (f *Frozen) Release() error {
	if !f.end() {
		return nil
	}
	return f.GiveUp()
}

// end is whether this is the first call.
func (f *Frozen) end() bool {
	if !f.over.CompareAndSwap(false, true) {
		return false
	}
	if f.Keys != nil {
		for _, key := range f.Keys(f.Bytes) {
			clear(key)
		}
	}
	return true
}
