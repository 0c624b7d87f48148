package transport

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A poller bounds the readers and writers of one Transport that do without the Go poller at the same time.
type poller struct {
	limit  time.Duration // of polling
	short  time.Duration // of a short wait, at least; 0: none is made
	spell  time.Duration // for so long one does so on end; 0: nobody is told to let others run
	busy   atomic.Int32
	crowd  atomic.Pointer[time.Time] // nobody comes in before; nil: there has been no crowd
	seats  seats
	alarms alarms

	verdicts verdicts
}

const (
	// spellLasts is how long somebody polls and sits on end before others have a turn. To the scheduler who does so looks like one that
	// computes: by itself it would let others on the processor run after 10 ms only, and one of a thousand talkers every few seconds.
	spellLasts = time.Millisecond

	// crowdWaits is how long that turn may take: longer, and others want the processor.
	crowdWaits = 50 * time.Microsecond

	// crowdLasts is how long nobody polls or sits then.
	crowdLasts = 10 * time.Millisecond
)

// A spell is the time since which somebody polls and sits without having slept; the zero value is none.
type spell struct{ began time.Time }

func newPoller(limit time.Duration) *poller {
	return &poller{limit: limit, short: shortWait, spell: spellLasts}
}

// enter takes a place among those that poll or sit: one processor is always left to others. Who has had one for long lets others run
// first, and keeps the place meanwhile, so nobody else has another spell before it is known whether there is a crowd.
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
