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

// WithPolling returns tr with limit as its limit of adaptive polling, in place of DefaultPolling; 0 turns polling off, and a limit above
// MaxPolling counts as MaxPolling. It corresponds to the BEAM's +sbwt.
//
// Waking a sleeping processor takes longer than most answers do. So a reader whose peer has lately answered within the limit polls, that is
// tries again and again, for that long before it sleeps; and a reader of one-way traffic looks at intervals, instead of being woken for
// each message. The price, which only busy connections pay: processor time, up to the limit for each message, of at most GOMAXPROCS-1
// readers of tr at a time; and for messages that flow one way, a delay of about the limit. An idle connection costs nothing. Where processors
// do not sleep deeply (idle=poll, or a virtual machine whose kernel itself polls first, see guest_halt_poll_ns), polling gains a tenth at most.
//
// Traffic that has flowed one way for 50 milliseconds, at 4 MB/s or more, is looked at only every 1 to 10 milliseconds for as long as that
// makes the traffic a fifth faster. That is so with a peer that sends small messages as fast as it can: they then leave the peer's kernel
// many at a time. Finding out takes 160 milliseconds at most; after a trial without that gain, the next one follows after a second, then
// ever more seldom. For a minute after one with that gain, readers of tr whose traffic comes about as fast need no trial, and wait for 5
// milliseconds only. Any write to the connection ends this, until messages have flowed one way for as long again.
//
// Where answers take a tenth less time to reach a reader that sits (see below) than one that polls, readers sit: some virtual machines wake
// a thread quickest on the processor that the answer was made on, for half the processor time. One reader of tr finds that out for all
// readers with messages of about the same size, in 125 milliseconds of a conversation in which one answer follows the other. The trial is
// repeated after five seconds, then ever more seldom; after one second if it was not in vain.
//
// A reader that has polled or sat for a millisecond without a break lets other goroutines run. If it then has to wait for its next turn, as
// in a crowd of busy connections or beside a program that computes, nobody polls or sits for ten milliseconds.
//
// With any limit, a reader or writer whose waits have lately taken at most a quarter of a millisecond waits in a system call on its own
// thread: it sits. That is as quick as a thread's wait in a C program, and costs as little; at most GOMAXPROCS-1 sit at a time.
//
// With any limit, the first few reads of a connection, those of its handshake, wait in a system call of which the scheduler is not told,
// and so keep a processor from the program's other goroutines: for ten milliseconds at most, or half of one if the last such wait was in
// vain, and at most GOMAXPROCS-1 readers of tr at a time. Telling the scheduler takes as long as the rest of most handshakes.
//
// With any limit, a read of 32 KB or more over TCP that belongs to no answer acknowledges what has come (tcp(7), TCP_QUICKACK). The kernel
// by itself acknowledges only every second segment, and over the loopback a segment is as large as a message.
//
// WithPolling is for Linux, and for plug-ins for which the SDK does the waiting. A wrapper that has a method
// WithPolling(time.Duration) Transport, as those of package transport/virtual do, returns one with that limit below it. Any other tr is
// returned unchanged: wrap what WithPolling returns. Streams that come
// without a Transport (ConnectTCP, ConnectUnix, UnixPair, AdoptStream) have DefaultPolling, each with bounds of its own.
func WithPolling(tr Transport, limit time.Duration) Transport {
	if p, ok := tr.(interface {
		WithPolling(time.Duration) Transport
	}); ok && canPoll {
		return p.WithPolling(min(max(limit, 0), MaxPolling))
	}
	return tr
}

// shortWait is the most that a short wait may last. A short wait is a system call of which the scheduler is not told. The reader of a new
// connection begins with such waits: a handshake is mostly over before the scheduler's monitor thread would be awake, and that thread would
// take a processor from the peer. Close, and the end of a context, may have to wait for the end of a short wait.
//
// The time is longer than two ticks of the kernel's clock (at 250 Hz). A shorter time-out would be the next thing that the processor has to
// wake up for, so the kernel would set a timer for each wait, which on a virtual machine costs more than the rest of the call.
const shortWait = 10 * time.Millisecond

// shorterWait is the most that a short wait may last after one in vain, and once the handshake is over.
const shorterWait = 500 * time.Microsecond

// sitsFor is the longest wait that still counts as short enough to sit for: see seat.
const sitsFor = 250 * time.Microsecond

const (
	pollMisses = 4        // polls in vain, in a row, after which a reader sleeps at once again
	pollProbe  = 16       // short waits in a row after which a sleeping reader polls once, to see whether that pays
	pollBulk   = 32 << 10 // a read of as many bytes is a part of something large, whose rest is on its way
	pollFirst  = 6        // how many waits belong to a handshake
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
	first int          // how many of the first waits, those of a handshake, have been made

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

// answering reports whether the wait in progress is for an answer, or the rest of one.
func (s *spin) answering() bool {
	return s.habit == &s.answers || s.habit == &s.bulk && s.mid && s.answer
}

// answered reports whether a read of n bytes has brought the beginning of an answer.
func (s *spin) answered(n int) bool { return n > 0 && !s.mid && s.spoke.Load() }

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

// soon reports whether a short wait is worth it: only the first few waits, which are a handshake's, are, until one was in vain.
func (s *spin) soon() bool {
	if s.first >= pollFirst {
		return false
	}
	s.first++
	return true
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
