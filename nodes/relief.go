package nodes

import (
	"sync/atomic"
	"time"
)

// quickHandshake is how long a handshake may keep the goroutine that accepts. To wake another one for it takes a good part of the time of
// most.
const quickHandshake = time.Millisecond

// A pace says whether a handshake is done on the goroutine that accepts, as after a quick one, or beside it.
type pace struct{ slow atomic.Bool }

// here does a handshake on the goroutine that accepts. If it is not quick, next accepts from then on, on another goroutine, and the caller
// is not to go on.
func (p *pace) here(o *opening, shake, next func()) (goOn bool) {
	r := &relief{pace: p, next: next}
	o.relief = r
	shake()
	return r.end()
}

// beside does a handshake on another goroutine, which is the caller's.
func (p *pace) beside(shake func()) {
	began := time.Now()
	shake()
	if time.Since(began) < quickHandshake {
		p.slow.Store(false)
	}
}

// A relief is another goroutine that accepts where a handshake keeps the one that did. It watches the clock only for what may take a while:
// setting a timer wakes the thread that sleeps until a later one, which takes as long as the rest of a connection's work here. Its methods
// do nothing for nil, that of a handshake that keeps nobody.
type relief struct {
	pace  *pace
	next  func()
	timer *time.Timer // nil: the clock is not watched
	over  atomic.Bool // the other goroutine accepts, or is not wanted any more
}

// watch is called before what may take a while, by the goroutine of the handshake.
func (r *relief) watch() {
	if r != nil && r.timer == nil && !r.over.Load() {
		r.timer = time.AfterFunc(quickHandshake, func() {
			if r.over.CompareAndSwap(false, true) {
				r.pace.slow.Store(true) // now: the next ones are not to be held up by as much each
				r.next()
			}
		})
	}
}

// end says that the handshake is over, and reports whether nobody else accepts.
func (r *relief) end() bool {
	if r.timer != nil {
		r.timer.Stop()
	}
	return r.over.CompareAndSwap(false, true)
}
