package await

import (
	"sync/atomic"
	"time"
)

const (
	// A read of as many bytes is a part of something large, whose rest is on its way.
	largeRead = 32 << 10

	habitForms = 16 // waits in a row that speak for a habit form it
	habitEnds  = 4  // that speak against it end it
)

// A traffic is what a reader knows of what it reads. Only the reader uses it, except for wrote.
type traffic struct {
	wrote  atomic.Bool // something was written since the last read
	last   int         // bytes of the last read
	mid    bool        // the rest of a packet is waited for
	answer bool        // that packet, or the last one, came after a write

	flow habit  // to nap where messages come one way
	rest habit  // to spin for the rest of something large
	kind *habit // the one of the wait in progress; nil: what comes is an answer
	done bool   // what kind stands for has been done in this wait
	came bool   // and has brought something
}

// begin starts a wait. While the peer has something to answer nobody can tell when it will: that
// wait is of no kind.
func (s *traffic) begin() {
	switch {
	case s.wrote.Load():
		s.kind = nil
	case s.last >= largeRead:
		s.kind = &s.rest
	case s.mid && s.answer:
		s.kind = nil
	default:
		s.kind = &s.flow
	}
	s.done, s.came = false, false
}

// tried notes that what the kind of the wait stands for has been done.
func (s *traffic) tried(came bool) { s.done, s.came = true, came }

// end is called after a wait of that length.
func (s *traffic) end(waited, limit time.Duration) {
	kind := s.kind
	s.kind = nil
	switch {
	case kind == nil:
	case kind == &s.flow && s.wrote.Load(): // during the wait: the traffic is not one-way
		s.flow = habit{}
	case s.done:
		kind.judge(s.came)
	case kind == &s.flow:
		kind.judge(waited <= limit)
	default:
		kind.judge(waited <= 8*limit) // most of that is the time to wake up
	}
}

// read is called after a read of n bytes.
func (s *traffic) read(n int) {
	wrote := s.wrote.Load()
	s.last = n
	if !s.mid {
		s.answer = wrote
	}
	if wrote {
		s.wrote.Store(false)
	}
}

// streams reports whether a read of n bytes has brought a part of something large that is no
// answer. (An answer is acknowledged by what is written next.)
func (s *traffic) streams(n int) bool {
	if s.mid {
		return n >= largeRead && !s.answer
	}
	return n >= largeRead && !s.wrote.Load()
}

// A habit tells whether something else than to sleep in the Go poller is worth it, judged by how
// the latest waits went.
type habit struct {
	formed bool
	count  int // waits in a row that went otherwise than the habit expects
}

func (h *habit) judge(well bool) {
	if well == h.formed {
		h.count = 0
		return
	}
	h.count++
	if h.formed && h.count >= habitEnds || h.count >= habitForms {
		*h = habit{formed: well}
	}
}
