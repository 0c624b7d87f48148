package tlstransport

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// polls bounds the readers of one transport that poll at the same time.
type polls struct {
	limit time.Duration
	most  int32
	busy  atomic.Int32
}

func newPolls(limit time.Duration) *polls {
	if limit == 0 {
		limit = transport.DefaultPolling
	}
	if !canPoll {
		limit = 0
	}
	// One processor is always left to others.
	return &polls{limit: min(max(limit, 0), transport.MaxPolling), most: int32(runtime.GOMAXPROCS(0)) - 1}
}

const (
	pollMisses = 4        // polls in vain, in a row, after which a reader sleeps at once again
	pollProbe  = 16       // short waits in a row after which a sleeping reader polls for once
	pollBulk   = 32 << 10 // bytes of one read: a part of something large, whose rest is on its way
	pollPause  = 500 * time.Nanosecond
)

// A pacing is what a reader knows of the pace of what it reads. Behind a write an answer is likely, and inside something large its rest:
// the reader tries again and again. Else it rather dozes: what it lets come together it reads in one call, and the peer is spared the
// work of waking it. Only the reader uses it, but for written.
type pacing struct {
	polls *polls
	wrote atomic.Int64 // bytes written since the last read
	last  int          // bytes of the last read

	answers, bulk, flow habit

	now   *habit    // of the wait in progress; nil: there was none
	began time.Time // when that began
}

// written follows a write of n bytes.
func (p *pacing) written(n int) { p.wrote.Add(int64(n)) }

// begin starts a wait, and tells for how long the reader tries again and again or, if doze, sleeps before it tries once. ok is false where
// it is to wait in the poller at once; else leave must be called.
func (p *pacing) begin() (limit time.Duration, doze, ok bool) {
	limit = p.polls.limit
	if limit == 0 {
		return 0, false, false
	}
	p.began = time.Now()
	wrote := p.wrote.Load()
	switch {
	case wrote > 0:
		p.now = &p.answers
		limit = min(limit+time.Duration(wrote), 4*limit) // the peer has to read it first, at 1 GB/s
	case p.last >= pollBulk:
		p.now = &p.bulk
	default:
		p.now = &p.flow
	}
	if !p.now.due() {
		return 0, false, false
	}
	if p.polls.busy.Add(1) > p.polls.most { // with GOMAXPROCS 1, always
		p.leave()
		return 0, false, false
	}
	return limit, p.now == &p.flow, true
}

func (p *pacing) leave() { p.polls.busy.Add(-1) }

// polled tells whether something came.
func (p *pacing) polled(came bool) { p.now.polled(came) }

// read follows a read of n bytes.
func (p *pacing) read(n int) {
	spoke := p.wrote.Load() > 0
	if p.now != nil {
		d, limit := time.Since(p.began), p.polls.limit
		switch {
		case p.now != &p.flow:
			p.now.slept(d <= 8*limit) // most of that is the waking
		case spoke: // somebody else answered meanwhile: nothing that flows one way
			p.flow = habit{}
		default:
			p.flow.slept(d <= limit)
		}
		p.now = nil
	}
	p.last = n
	if spoke {
		p.wrote.Store(0)
	}
}

// A habit is what has lately come of waiting.
type habit struct {
	hot   bool // what was polled for has come
	count int  // if hot, polls in vain, else short waits; both in a row
}

func (h *habit) due() bool { return h.hot || h.count >= pollProbe }

func (h *habit) slept(short bool) {
	switch {
	case h.hot:
	case short:
		h.count++
	default:
		h.count = 0
	}
}

func (h *habit) polled(came bool) {
	switch {
	case came:
		h.hot, h.count = true, 0
	case !h.hot:
		h.count = 0
	default:
		if h.count++; h.count >= pollMisses {
			h.hot, h.count = false, 0
		}
	}
}

// rest lets some time pass between two tries: each locks the socket, on which the answer may be coming in.
func rest(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}
