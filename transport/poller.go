package transport

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A poller bounds how many readers and writers of one Transport do without the Go poller, that is poll or sit, at the same time.
type poller struct {
	limit time.Duration // of polling
	spell time.Duration // how long a goroutine may poll and sit without a break before it yields; 0: it never yields
	busy  atomic.Int32
	crowd atomic.Pointer[time.Time] // enter fails before this time; nil: there has been no crowd
	seats seats

	gathered gathered
}

const (
	// spellLasts is how long a goroutine polls and sits without a break before it yields. To the Go scheduler, such a goroutine looks like
	// one that computes: the scheduler by itself would let others run on the processor only after 10 ms, so that each of a thousand busy
	// connections would have a turn only every few seconds.
	spellLasts = time.Millisecond

	// crowdWaits is how long a yield may take: if it takes longer, others want the processor, and there is a crowd.
	crowdWaits = 50 * time.Microsecond

	// crowdLasts is how long nobody polls or sits after a crowd has been found.
	crowdLasts = 10 * time.Millisecond
)

// A spell records since when a goroutine has polled and sat without sleeping; the zero value: it has not.
type spell struct{ began time.Time }

func newPoller(limit time.Duration) *poller {
	return &poller{limit: limit, spell: spellLasts}
}

// enter takes one of the places for polling or sitting, of which there are GOMAXPROCS-1: one processor is always left to others. A
// goroutine whose spell has lasted for p.spell yields first. It keeps the place meanwhile, so that no other goroutine begins a new spell
// before it is known whether there is a crowd.
func (p *poller) enter(s *spell, now time.Time) bool {
	if until := p.crowd.Load(); until != nil && now.Before(*until) {
		return false
	}
	if !p.place() {
		return false
	}
	switch {
	case s.began.IsZero():
		s.began = now
	case p.spell > 0 && now.Sub(s.began) >= p.spell:
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

func (p *poller) place() bool {
	if int(p.busy.Add(1)) < runtime.GOMAXPROCS(0) {
		return true
	}
	p.busy.Add(-1)
	return false
}

func (p *poller) leave() { p.busy.Add(-1) }
