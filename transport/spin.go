package transport

import (
	"sync/atomic"
	"time"
)

const (
	// DefaultPolling is how long a reader tries for itself before it sleeps, when messages have lately come that fast.
	DefaultPolling = 60 * time.Microsecond
	// MaxPolling is the highest limit of polling: Close, and the end of a context, may have to wait for four times the limit.
	MaxPolling = time.Millisecond
)

// WithPolling returns tr with another limit of adaptive polling than DefaultPolling; 0 is none, and more than MaxPolling is that. It is
// what +sbwt is to the BEAM.
//
// To wake a sleeping processor takes longer than most answers do. So a reader whose peer has lately answered within the limit tries again
// and again for that long before it sleeps; and a reader of one-way traffic looks at intervals, instead of being woken for each
// message. The price, paid by busy connections only: processor time, of one reader of tr fewer than GOMAXPROCS at a time, up to the limit
// for each message; and for messages that flow one way a delay of about the limit. An idle connection costs nothing.
//
// What has flowed one way for 50 milliseconds, at 4 MB/s or more, and comes a fifth faster where it is looked at every few milliseconds
// only, is looked at every 1 to 10 milliseconds, for as long as that is so. It is so with a peer that sends small messages as fast as it
// can: they then leave its kernel many at a time. To find out takes 90 milliseconds at most; where it is not so that is tried again after
// a second, then ever more seldom. Whatever is written to the connection ends it, until messages have flowed for 50 milliseconds again.
//
// Where answers come in a tenth less time to a reader that sits (see below), readers sit: some virtual machines wake a thread quickest on
// the processor that the answer was made on, for half the processor time. One reader of tr finds that out for all with messages of a
// size, in 125 milliseconds of a conversation in which one answer follows the other. It is tried again after a second, then ever more
// seldom.
//
// A reader that has polled or sat for a millisecond without a break lets others run. If it is a while before its turn comes
// again, as in a crowd of busy connections or beside a program that computes, nobody polls or sits for ten milliseconds.
//
// With any limit, a reader or writer whose waits have lately been of a quarter of a millisecond at most waits in a system call of its own
// thread: it sits. That is as quick as a thread's wait in a C program, and costs as little; one fewer than GOMAXPROCS do so at a time.
//
// With any limit, a read of 32 KB or more over TCP, of what is no answer, acknowledges what has come (tcp(7), TCP_QUICKACK). The kernel by
// itself does so for every second segment, which over the loopback is as large as a message.
//
// It is for Linux, and for plug-ins whose waiting the SDK does, also under Trace, Limit and Fault (which then counts its connections
// anew). Elsewhere tr is returned as it is; a wrapper of your own, too, which goes over what WithPolling returns. Streams that come without
// a Transport (ConnectTCP, ConnectUnix, UnixPair, AdoptStream) have DefaultPolling, each with bounds of its own.
func WithPolling(tr Transport, limit time.Duration) Transport {
	if p, ok := tr.(interface {
		withPolling(time.Duration) Transport
	}); ok && canPoll {
		return p.withPolling(min(max(limit, 0), MaxPolling))
	}
	return tr
}

// shortWait is how long a short wait may take at least, and half of the most: one in a system call of which the scheduler is not told. The
// reader of a new connection begins with such waits: a handshake is mostly over before the scheduler's monitor thread would be awake, and
// that would take a processor from the peer. Close, and the end of a context, may have to wait for the end of a short wait.
const shortWait = 500 * time.Microsecond

// sitsFor is how long the waits of one who sits take: see seat.
const sitsFor = 250 * time.Microsecond

const (
	pollMisses = 4        // times in vain after which a reader sleeps at once again
	pollProbe  = 16       // short waits in a row after which a sleeping reader polls for once
	pollBulk   = 32 << 10 // bytes of one read: a part of something large, whose rest is on its way
	pollFirst  = 6        // waits that belong to a handshake
	pollPause  = 500 * time.Nanosecond

	// pollPauseBulk is a pause inside something large: each piece costs a call, and an acknowledgement that the peer has to take.
	pollPauseBulk = 15 * time.Microsecond
)

// A spin is what a reader knows of the pace of what it reads. Only the reader uses it, but for spoke and wrote.
//
// Behind a write an answer is likely, and inside an answer or something large its rest: the reader polls. Else it rather naps: what it lets
// come together it reads in one call, and the peer is spared the work of waking it.
type spin struct {
	spoke atomic.Bool  // something was written since the last read
	wrote atomic.Int64 // bytes of that
	last  int          // bytes of the last read
	first int          // of the first waits

	mid    bool // the rest of a packet is waited for
	answer bool // that packet, or the last one, came behind a write

	answers, bulk, flow pace
	habit               *pace // of the wait in progress; nil: there was none
}

// written follows a write of n bytes.
func (s *spin) written(n int64) {
	if s.spoke.Load() {
		s.wrote.Add(n)
		return
	}
	s.wrote.Store(n)
	s.spoke.Store(true)
}

// begin starts a wait and tells the habit that it belongs to.
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

// answering says that the wait in progress is for an answer, or the rest of one.
func (s *spin) answering() bool {
	return s.habit == &s.answers || s.habit == &s.bulk && s.mid && s.answer
}

// answered says that a read of n bytes had the beginning of an answer.
func (s *spin) answered(n int) bool { return n > 0 && !s.mid && s.spoke.Load() }

// streams says that a read of n bytes had a part of something large that is no answer: what is written next acknowledges an answer.
func (s *spin) streams(n int) bool {
	if n < pollBulk {
		return false
	}
	if s.mid {
		return !s.answer
	}
	return !s.spoke.Load()
}

// soon says that a short wait is worth it: among the first few, which are a handshake's, until one was in vain.
func (s *spin) soon() bool {
	if s.first >= pollFirst {
		return false
	}
	s.first++
	return true
}

// patience is how long the reader tries: longer behind a large write, for the peer has to read it first.
func (s *spin) patience(limit time.Duration) time.Duration {
	if s.habit == &s.answers {
		return min(limit+time.Duration(s.wrote.Load()), 4*limit) // 1 GB/s
	}
	return limit
}

// end follows a read of n bytes, after a wait of that length if there was one.
func (s *spin) end(n int, waited, limit time.Duration) {
	if n == 0 && s.habit == nil { // a look, no more: what is waited for is still to come
		return
	}
	spoke := s.spoke.Load()
	if s.habit != nil {
		switch {
		case s.habit != &s.flow:
			s.habit.slept(waited <= 8*limit) // most of that is the waking
		case spoke: // somebody else answered meanwhile: nothing that flows one way
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

// rest lets some time pass between two tries: each locks the socket, on which the answer may be coming in.
func rest(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// A pace is a habit.
type pace struct {
	hot   bool // what was polled for has lately come
	count int  // in vain, if hot, else short waits in a row
}

func (p *pace) due() bool { return p.hot || p.count >= pollProbe }

// waited is for a habit of which nothing is polled: it goes when waits are long.
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
