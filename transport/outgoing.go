package transport

import "time"

// outgoing is how the writer of a descriptor waits for room. Only the writer uses it.
type outgoing struct {
	wait   watch
	poller *poller
	try    func() bool // as incoming's

	once    bool // try, do not wait
	blocked bool // there was no room
	keen    bool // may poll
	sits    bool // may sit

	began time.Time // when the wait in progress began; zero: there was none
	room  pace      // how soon room has lately come
	seat  pace
	slept bool // the last wait was in the Go poller
	spell spell
}

// use names where to wait.
func (w *outgoing) use(wait watch, p *poller) { w.wait, w.poller = wait, p }

// begin comes before a write; single is one that must not wait.
func (w *outgoing) begin(single bool) {
	w.blocked = false
	w.keen, w.sits = canPoll && !single, canPoll && !single
}

// end follows a write. After a wait the Go poller looks away: over a UNIX socket it would wake up whenever the peer reads.
func (w *outgoing) end() {
	if w.began.IsZero() {
		return
	}
	d := time.Since(w.began)
	w.room.slept(d <= 4*w.poller.limit)
	w.seat.waited(d <= sitsFor)
	w.began = time.Time{}
	w.wait.lookAway(true)
}

// ready is called under the watch when there may be room; false asks it to wait.
func (w *outgoing) ready(uintptr) bool {
	for {
		if w.try() || w.keen && w.poll() || w.sits && !w.once && w.sit() {
			return true
		}
		if canPoll && !w.once && w.wait.look(true) {
			continue // room that came before wakes nobody
		}
		w.blocked = true
		if !w.once {
			w.slept, w.spell = true, spell{}
		}
		return w.once
	}
}

// poll tries again and again, where room has lately come soon.
func (w *outgoing) poll() bool {
	w.keen, w.began = false, time.Now()
	if w.poller.limit == 0 || !w.room.due() || !w.poller.enter(&w.spell, w.began) {
		return false
	}
	defer w.poller.leave()
	came := false
	for !came && time.Since(w.began) < w.poller.limit {
		rest(4 * pollPause)
		came = w.try()
	}
	w.room.polled(came)
	return came
}

// sit waits on a seat, where waits have lately been short.
func (w *outgoing) sit() bool {
	w.sits = false
	if !w.seat.due() || !w.poller.enter(&w.spell, w.began) {
		return false
	}
	defer w.poller.leave()
	if w.slept {
		w.slept = false
		standIn()
	}
	if !w.wait.sit(true, &w.poller.seats) || !w.try() {
		w.seat = pace{}
		return false
	}
	if !w.seat.hot {
		w.seat = pace{hot: true}
	}
	return true
}
