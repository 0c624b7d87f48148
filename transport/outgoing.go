package transport

import "time"

// outgoing is how the writer of a descriptor waits for room. Only the writer uses it.
type outgoing struct {
	waits
	room pace // how soon room has lately come
}

// use says where to wait.
func (w *outgoing) use(wait watch, p *poller) {
	w.wait, w.poller, w.writing, w.side = wait, p, true, w
}

// end is called after a write. If the writer has waited, the Go poller looks away: over a UNIX socket it would wake up whenever the peer
// reads.
func (w *outgoing) end() {
	if w.began.IsZero() {
		return
	}
	w.room.slept(w.waited() <= 4*w.poller.limit)
	w.began = time.Time{}
	w.wait.lookAway(true)
}

// expect tries again and again, if room has lately come soon.
func (w *outgoing) expect() bool {
	w.keen, w.began = false, time.Now()
	if w.poller.limit == 0 || !w.room.due() || !w.poller.enter(&w.spell, w.began) {
		return false
	}
	defer w.poller.leave()
	came := false
	for !came && time.Since(w.began) < w.poller.limit {
		rest(4 * pollPause)
		came = w.tries.try()
	}
	w.room.polled(came)
	return came
}
