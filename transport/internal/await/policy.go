package await

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Policy bounds how many readers and writers of one Transport do without the Go poller at the
// same time, and holds what they share.
type Policy struct {
	limit   time.Duration // how long readers nap in a flow, and spin for the rest of something large
	busy    atomic.Int32
	threads threadWaits
	rests   rests
	batches batches
}

// NewPolicy returns a policy with that limit of naps and of spinning; 0: there is neither.
func NewPolicy(limit time.Duration) *Policy { return &Policy{limit: limit} }

// Limit is how long readers nap and spin.
func (p *Policy) Limit() time.Duration { return p.limit }

// enter takes one of the places for those that nap, spin or block their thread, of which there are
// GOMAXPROCS-1: one processor is always left to others.
func (p *Policy) enter() bool {
	if int(p.busy.Add(1)) < runtime.GOMAXPROCS(0) {
		return true
	}
	p.busy.Add(-1)
	return false
}

func (p *Policy) leave() { p.busy.Add(-1) }
