package nodes

import (
	"sync/atomic"
	"time"
)

// quickHandshake is how long a handshake may keep the goroutine that accepts. To wake another goroutine for it takes a good part of the
// time of most handshakes.
const quickHandshake = time.Millisecond

// A pace says whether handshakes are done on the goroutine that accepts, as after a quick one, or on others.
type pace struct{ slow atomic.Bool }

// here does a handshake on the goroutine that accepts. If it is not quick, another goroutine calls next, which accepts from then on, and
// the caller is not to go on.
func (p *pace) here(o *opening, shake, next func()) (goOn bool) {
	r := &relief{pace: p, next: next}
	o.relief = r
	began := time.Now()
	shake()
	if time.Since(began) >= quickHandshake {
		p.slow.Store(true)
	}
	return r.end()
}

// beside does a handshake on the caller's goroutine, which does not accept.
func (p *pace) beside(shake func()) {
	began := time.Now()
	shake()
	if time.Since(began) < quickHandshake {
		p.slow.Store(false)
	}
}

// A relief is another goroutine, which accepts when a handshake keeps the one that did. It watches the clock only for what may take a
// while: setting a timer wakes the thread that sleeps until a later one, which takes as long as the rest of a connection's work here. watch
// does nothing for nil, the relief of a handshake that keeps no goroutine from accepting.
type relief struct {
	pace  *pace
	next  func()
	timer *time.Timer // nil: the clock is not watched
	over  atomic.Bool // the other goroutine accepts, or is no longer needed
}

// watch is called before what may take a while, by the goroutine of the handshake.
func (r *relief) watch() {
	if r != nil && r.timer == nil && !r.over.Load() {
		r.timer = time.AfterFunc(quickHandshake, func() {
			if r.over.CompareAndSwap(false, true) {
				r.pace.slow.Store(true) // now: the next handshakes are not to be held up as long
				r.next()
			}
		})
	}
}

// end says that the handshake is over, and reports whether the caller is still the one that accepts.
func (r *relief) end() bool {
	if r.timer != nil {
		r.timer.Stop()
	}
	return r.over.CompareAndSwap(false, true)
}
