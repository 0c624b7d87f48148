package transport

import (
	"runtime"
	"sync/atomic"
	"time"
)

// DefaultPolling is how long a reader tries for itself before it sleeps, when messages have lately come that fast.
const DefaultPolling = 60 * time.Microsecond

// WithPolling returns tr with another limit of adaptive polling than DefaultPolling; 0 is none. It is what +sbwt is to the BEAM.
//
// To wake a sleeping processor takes longer than most answers do. So a reader whose peer has lately answered within the limit tries again and again
// for that long before it sleeps; and one to which messages flow without an answer looks every so often, instead of being woken for each. The
// price, paid by busy connections only: processor time, of one reader fewer than GOMAXPROCS at a time, up to the limit for each message;
// and for messages that flow one way a delay of about the limit. An idle connection costs nothing.
//
// It is for Linux, and for plug-ins whose waiting the SDK does. Elsewhere tr is returned as it is.
func WithPolling(tr Transport, limit time.Duration) Transport {
	if p, ok := tr.(interface {
		withPolling(time.Duration) Transport
	}); ok && canPoll {
		return p.withPolling(max(limit, 0))
	}
	return tr
}

// A poller bounds the readers of one Transport that poll at the same time.
type poller struct {
	limit time.Duration
	busy  atomic.Int32
}

// enter takes a place among those that poll: one processor is always left to others.
func (p *poller) enter() bool {
	if int(p.busy.Add(1)) < runtime.GOMAXPROCS(0) {
		return true
	}
	p.busy.Add(-1)
	return false
}

func (p *poller) leave() { p.busy.Add(-1) }

const (
	pollMisses = 4        // times in vain after which a reader sleeps at once again
	pollProbe  = 16       // short waits in a row after which a sleeping reader polls for once
	pollBulk   = 32 << 10 // bytes of one read: a part of something large, whose rest is on its way
	pollPause  = 500 * time.Nanosecond
)

// A spin is what a reader knows of the pace of what it reads. Only the reader uses it, but for spoke.
//
// Behind a write an answer is likely: the reader polls. Without one it rather naps: what it lets come together it reads in one call, and the peer is
// spared the work of waking it.
type spin struct {
	spoke atomic.Bool // something was written since the last read
	began time.Time   // when the wait in progress began; zero: there was none
	after bool        // that was behind a write
	last  int         // bytes of the last read
	wrote atomic.Int64

	answers, flow, bulk pace
}

// begin starts a wait and tells what the reader does first.
func (s *spin) begin() spinMode {
	s.began, s.after = time.Now(), s.spoke.Load()
	switch {
	case s.after && s.answers.due():
		return spinPoll
	case !s.after && s.last >= pollBulk && s.bulk.due():
		return spinBulk
	case !s.after && s.last < pollBulk && s.flow.due():
		return spinNap
	}
	return spinSleep
}

// end follows a read of n bytes.
func (s *spin) end(n int, limit time.Duration) {
	spoke := s.spoke.Load()
	if !s.began.IsZero() {
		d := time.Since(s.began)
		s.began = time.Time{}
		switch {
		case s.after:
			s.answers.slept(d <= 8*limit) // most of that is the waking
		case spoke: // an answer, by somebody else: nothing that flows one way
			s.flow = pace{}
		case s.last >= pollBulk:
			s.bulk.slept(d <= 4*limit)
		default:
			s.flow.slept(d <= limit)
		}
	}
	s.last = n
	if spoke {
		s.spoke.Store(false)
	}
}

type spinMode uint8

const (
	spinSleep spinMode = iota
	spinPoll
	spinNap
	spinBulk
)

// A pace is a habit.
type pace struct {
	hot   bool // what was polled for has lately come
	count int  // in vain, if hot, else short waits in a row
}

func (p *pace) due() bool { return p.hot || p.count >= pollProbe }

func (p *pace) slept(short bool) {
	switch {
	case p.hot:
	case short:
		p.count++
	default:
		p.count = 0
	}
}

// polled tells whether something came.
func (p *pace) polled(came bool) {
	switch {
	case came:
		p.hot, p.count = true, 0
	case !p.hot:
		p.count = 0
	default:
		if p.count++; p.count >= pollMisses {
			p.hot, p.count = false, 0
		}
	}
}
