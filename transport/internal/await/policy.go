package await

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Policy bounds how many readers and writers of one Transport do without the Go poller, that is
// poll or wait on their own thread, at the same time.
type Policy struct {
	limit time.Duration // of polling
	// How long a goroutine may poll and block without a break before it yields; 0: it never yields.
	turn    time.Duration
	busy    atomic.Int32
	crowd   atomic.Pointer[time.Time] // enter fails before this time; nil: there has been no crowd
	machine busyMachine
	threads threadWaits
	rests   rests

	batches batches
}

const (
	// turnLasts is how long a goroutine polls and blocks without a break before it yields. To the
	// Go scheduler, such a goroutine looks like one that computes: the scheduler by itself would
	// let others run on the processor only after 10 ms, so that each of a thousand busy connections
	// would have a turn only every few seconds.
	turnLasts = time.Millisecond

	// crowdWaits is how long a yield may take: if it takes longer, others want the processor, and
	// there is a crowd.
	crowdWaits = 50 * time.Microsecond

	// crowdLasts is how long nobody polls or blocks after a crowd has been found.
	crowdLasts = 10 * time.Millisecond
)

// A turn records since when a goroutine has polled and blocked without sleeping; the zero value: it
// has not.
type turn struct{ began time.Time }

// NewPolicy returns a policy with that limit of polling; 0: nobody polls.
func NewPolicy(limit time.Duration) *Policy {
	return &Policy{limit: limit, turn: turnLasts, machine: busyMachine{after: standsStill}}
}

// Limit is how long readers poll.
func (p *Policy) Limit() time.Duration { return p.limit }

// enter takes one of the places for polling or blocking, of which there are GOMAXPROCS-1: one
// processor is always left to others. A goroutine whose turn has lasted for p.turn yields first. It
// keeps the place meanwhile, so that no other goroutine begins a new turn before it is known
// whether there is a crowd.
func (p *Policy) enter(s *turn, now time.Time) bool {
	if until := p.crowd.Load(); until != nil && now.Before(*until) {
		return false
	}
	if !p.place() {
		return false
	}
	switch {
	case s.began.IsZero():
		s.began = now
	case p.turn > 0 && now.Sub(s.began) >= p.turn:
		now = time.Now()
		runtime.Gosched()
		s.began = time.Now()
		if s.began.Sub(now) > crowdWaits {
			until := s.began.Add(crowdLasts)
			p.crowd.Store(&until)
			p.leave()
			return false
		}
	}
	return true
}

func (p *Policy) place() bool {
	if int(p.busy.Add(1)) < runtime.GOMAXPROCS(0) {
		return true
	}
	p.busy.Add(-1)
	return false
}

func (p *Policy) leave() { p.busy.Add(-1) }
