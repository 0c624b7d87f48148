package transport

import "time"

// A waits is how one side of a descriptor, its reader or its writer, waits; only that side uses it.
type waits struct {
	wait    watch
	poller  *poller
	writing bool
	tries   tryer
	side    expecter

	once    bool // try, do not wait
	blocked bool // there was nothing to read, or no room
	keen    bool // expect may be called
	sits    bool // sit may be called

	began time.Time // when the wait in progress began
	seat  pace      // how short waits have lately been
	slept bool      // the last wait was in the Go poller
	spell spell
}

// A tryer makes one try, which does not wait, and reports whether the operation is done.
type tryer interface{ try() bool }

// An expecter waits for a while without the Go poller, if the peer's pace makes that promising, and reports whether the operation is done.
type expecter interface{ expect() bool }

// begin is called before a read or write; single says that it must not wait.
func (w *waits) begin(single bool) {
	w.blocked = false
	w.keen, w.sits = canPoll && !single, canPoll && !single
}

// ready is called under the watch when something may have come, or there may be room; false asks it to wait.
func (w *waits) ready(uintptr) bool {
	for {
		if w.tries.try() || w.keen && w.side.expect() || w.sits && !w.once && w.sit() {
			return true
		}
		if canPoll && !w.once && w.wait.look(w.writing) {
			continue // what came before look does not end the wait
		}
		w.blocked = true
		if !w.once {
			w.slept, w.spell = true, spell{}
		}
		return w.once
	}
}

// sit waits on a seat, if waits have lately been short. If that succeeds, the Go poller looks away from then on.
func (w *waits) sit() bool {
	w.sits = false
	if !w.seat.due() || !w.poller.enter(&w.spell, w.began) {
		return false
	}
	defer w.poller.leave()
	if w.slept {
		w.slept = false
		standIn()
	}
	if !w.wait.sit(w.writing, &w.poller.seats) || !w.tries.try() {
		w.seat = pace{}
		return false
	}
	if !w.seat.hot {
		w.seat = pace{hot: true}
	}
	w.wait.lookAway(w.writing)
	return true
}

// waited is called after a wait, and returns how long it was.
func (w *waits) waited() time.Duration {
	d := time.Since(w.began)
	w.seat.waited(d <= sitsFor)
	return d
}
