package await

import (
	"sync/atomic"
	"time"
)

// blocksFor is the longest wait that still counts as short enough to block the thread for: see
// threadWait.
const blocksFor = 250 * time.Microsecond

const (
	pollMisses = 4 // polls in vain, in a row, after which a reader sleeps at once again
	// Short waits in a row after which a sleeping reader polls once, to see whether that pays.
	pollProbe = 16
	// A read of as many bytes is a part of something large, whose rest is on its way.
	pollBulk  = 32 << 10
	pollPause = 500 * time.Nanosecond

	// pollPauseBulk is the pause between tries inside something large: each piece costs a call, and
	// an acknowledgement that the peer has to process.
	pollPauseBulk = 15 * time.Microsecond
)

// A traffic is what a reader knows of the pace of what it reads. Only the reader uses it, except
// for spoke and wrote.
//
// After a write an answer is likely, and inside an answer or something large its rest is: there the
// reader polls. Elsewhere it prefers to sleep for a moment: it then reads in one call what has come
// meanwhile, and the peer is spared the work of waking it.
type traffic struct {
	spoke atomic.Bool  // something was written since the last read
	wrote atomic.Int64 // bytes written since then
	last  int          // bytes of the last read

	mid    bool // the rest of a packet is waited for
	answer bool // that packet, or the last one, came after a write

	answers, bulk, flow history
	// The one that the wait in progress belongs to; nil: there was no wait.
	kind *history
}

// written is called after a write of n bytes.
func (s *traffic) written(n int64) {
	if s.spoke.Load() {
		s.wrote.Add(n)
		return
	}
	s.wrote.Store(n)
	s.spoke.Store(true)
}

// begin starts a wait and returns the kind that the wait belongs to.
func (s *traffic) begin() *history {
	switch {
	case s.spoke.Load():
		s.kind = &s.answers
	case s.last >= pollBulk:
		s.kind = &s.bulk
	case s.mid && s.answer:
		s.kind = &s.answers
	default:
		s.kind = &s.flow
	}
	return s.kind
}

// streams reports whether a read of n bytes has brought a part of something large that is no
// answer. (An answer is acknowledged by what is written next.)
func (s *traffic) streams(n int) bool {
	if n < pollBulk {
		return false
	}
	if s.mid {
		return !s.answer
	}
	return !s.spoke.Load()
}

// patience is how long the reader polls: longer after a large write, which the peer has to read
// first.
func (s *traffic) patience(limit time.Duration) time.Duration {
	if s.kind == &s.answers {
		return min(limit+time.Duration(s.wrote.Load()), 4*limit) // 1 GB/s
	}
	return limit
}

// end is called after a read of n bytes; waited is the length of the wait before, if there was one.
func (s *traffic) end(n int, waited, limit time.Duration) {
	if n == 0 && s.kind == nil { // a mere look: what the reader waits for is still to come
		return
	}
	spoke := s.spoke.Load()
	if s.kind != nil {
		switch {
		case s.kind != &s.flow:
			s.kind.slept(waited <= 8*limit) // most of that is the time to wake up
		case spoke: // something was written during the wait: the traffic is not one-way
			s.flow = history{}
		default:
			s.flow.slept(waited <= limit)
		}
		s.kind = nil
	}
	s.last = n
	if !s.mid {
		s.answer = spoke
	}
	if spoke {
		s.spoke.Store(false)
	}
}

// spinFor lets some time pass between two tries: each try locks the socket, on which the answer may
// just be arriving.
func spinFor(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// A history tells whether it is worth polling in one kind of wait, judged by how the latest waits
// of that kind went.
type history struct {
	hot   bool // what was polled for has lately come
	count int  // if hot, polls in vain, else short waits; in a row
}

func (p *history) due() bool { return p.hot || p.count >= pollProbe }

// waited takes the place of polled and slept for a history whose waits are all of one kind (those
// on the own thread): long waits in a row end it.
func (p *history) waited(short bool) {
	if p.hot {
		p.polled(short)
	} else {
		p.slept(short)
	}
}

func (p *history) slept(short bool) {
	switch {
	case p.hot:
	case short:
		p.count++
	default:
		p.count = 0
	}
}

// polled is called after a poll; came says whether it brought something.
func (p *history) polled(came bool) {
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
