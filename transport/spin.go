package transport

import (
	"sync/atomic"
	"time"
)

const (
	// DefaultPolling is how long a reader polls before it sleeps, when messages have lately come within that time.
	DefaultPolling = 60 * time.Microsecond
	// MaxPolling is the highest limit of polling: Close, and the end of a context, may have to wait for four times the limit.
	MaxPolling = time.Millisecond
)

// WithPolling returns tr with limit as its limit of adaptive polling, in place of DefaultPolling; 0
// turns polling off, and a limit above MaxPolling counts as MaxPolling. It corresponds to the BEAM's
// +sbwt: a reader whose peer has lately answered within the limit tries again and again for that
// long before it sleeps, which is quicker than to be woken and costs processor time. Idle
// connections cost nothing, and one processor is always left to others.
//
// It is for Linux, and for plug-ins for which the SDK does the waiting. A wrapper that has a method
// WithPolling(time.Duration) Transport, as those of package transport/virtual do, returns one with
// that limit below it. Any other tr is returned unchanged: wrap what WithPolling returns. Streams that come without a Transport (ConnectTCP, ConnectUnix, UnixPair, AdoptStream)
// have DefaultPolling.
func WithPolling(tr Transport, limit time.Duration) Transport {
	if p, ok := tr.(interface {
		WithPolling(time.Duration) Transport
	}); ok && canPoll {
		return p.WithPolling(min(max(limit, 0), MaxPolling))
	}
	return tr
}

// sitsFor is the longest wait that still counts as short enough to sit for: see seat.
const sitsFor = 250 * time.Microsecond

const (
	pollMisses = 4        // polls in vain, in a row, after which a reader sleeps at once again
	pollProbe  = 16       // short waits in a row after which a sleeping reader polls once, to see whether that pays
	pollBulk   = 32 << 10 // a read of as many bytes is a part of something large, whose rest is on its way
	pollPause  = 500 * time.Nanosecond

	// pollPauseBulk is the pause between tries inside something large: each piece costs a call, and an acknowledgement that the peer has to
	// process.
	pollPauseBulk = 15 * time.Microsecond
)

// A spin is what a reader knows of the pace of what it reads. Only the reader uses it, except for spoke and wrote.
//
// After a write an answer is likely, and inside an answer or something large its rest is: there the reader polls. Elsewhere it prefers to
// nap: it then reads in one call what has come meanwhile, and the peer is spared the work of waking it.
type spin struct {
	spoke atomic.Bool  // something was written since the last read
	wrote atomic.Int64 // bytes written since then
	last  int          // bytes of the last read

	mid    bool // the rest of a packet is waited for
	answer bool // that packet, or the last one, came after a write

	answers, bulk, flow pace
	habit               *pace // the one that the wait in progress belongs to; nil: there was no wait
}

// written is called after a write of n bytes.
func (s *spin) written(n int64) {
	if s.spoke.Load() {
		s.wrote.Add(n)
		return
	}
	s.wrote.Store(n)
	s.spoke.Store(true)
}

// begin starts a wait and returns the habit that the wait belongs to.
func (s *spin) begin() *pace {
	switch {
	case s.spoke.Load():
		s.habit = &s.answers
	case s.last >= pollBulk:
		s.habit = &s.bulk
	case s.mid && s.answer:
		s.habit = &s.answers
	default:
		s.habit = &s.flow
	}
	return s.habit
}

// streams reports whether a read of n bytes has brought a part of something large that is no answer. (An answer is acknowledged by what is
// written next.)
func (s *spin) streams(n int) bool {
	if n < pollBulk {
		return false
	}
	if s.mid {
		return !s.answer
	}
	return !s.spoke.Load()
}

// patience is how long the reader polls: longer after a large write, which the peer has to read first.
func (s *spin) patience(limit time.Duration) time.Duration {
	if s.habit == &s.answers {
		return min(limit+time.Duration(s.wrote.Load()), 4*limit) // 1 GB/s
	}
	return limit
}

// end is called after a read of n bytes; waited is the length of the wait before, if there was one.
func (s *spin) end(n int, waited, limit time.Duration) {
	if n == 0 && s.habit == nil { // a mere look: what the reader waits for is still to come
		return
	}
	spoke := s.spoke.Load()
	if s.habit != nil {
		switch {
		case s.habit != &s.flow:
			s.habit.slept(waited <= 8*limit) // most of that is the time to wake up
		case spoke: // something was written during the wait: the traffic is not one-way
			s.flow = pace{}
		default:
			s.flow.slept(waited <= limit)
		}
		s.habit = nil
	}
	s.last = n
	if !s.mid {
		s.answer = spoke
	}
	if spoke {
		s.spoke.Store(false)
	}
}

// rest lets some time pass between two tries: each try locks the socket, on which the answer may just be arriving.
func rest(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// A pace tells whether it is worth polling in one kind of wait, judged by how the latest waits of that kind went.
type pace struct {
	hot   bool // what was polled for has lately come
	count int  // if hot, polls in vain, else short waits; in a row
}

func (p *pace) due() bool { return p.hot || p.count >= pollProbe }

// waited takes the place of polled and slept for a pace whose waits are all of one kind (that of seats): long waits in a row end it.
func (p *pace) waited(short bool) {
	if p.hot {
		p.polled(short)
	} else {
		p.slept(short)
	}
}

func (p *pace) slept(short bool) {
	switch {
	case p.hot:
	case short:
		p.count++
	default:
		p.count = 0
	}
}

// polled is called after a poll; came says whether it brought something.
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
