package transport

import "time"

// incoming is how the reader of a descriptor waits. Only the reader uses it, but for the spin's written.
type incoming struct {
	fd     int
	wait   watch
	poller *poller
	spin   spin
	try    func() bool // makes one try, which does not wait, and reports whether there is something to tell

	once    bool // try, do not wait
	blocked bool // there was nothing
	keen    bool // may poll
	sits    bool // may sit
}

// use names where to wait.
func (r *incoming) use(fd int, wait watch, p *poller) { r.fd, r.wait, r.poller = fd, wait, p }

// begin comes before a read; single is one that must not wait.
func (r *incoming) begin(single bool) {
	r.blocked = false
	r.keen, r.sits = canPoll && !single, canPoll && !single
}

// end follows a read of n bytes.
func (r *incoming) end(n int) {
	if canPoll {
		r.spin.end(n, r.poller)
	}
}

// ready is called under the watch when something may have come; false asks it to wait.
func (r *incoming) ready(uintptr) bool {
	for {
		if r.try() || r.keen && r.help() || r.sits && !r.once && r.sit() {
			return true
		}
		if canPoll && !r.once && r.wait.look(false) {
			continue // what came before that wakes nobody
		}
		r.blocked = true
		if !r.once {
			r.spin.slept, r.spin.spell = true, spell{}
		}
		return r.once
	}
}

// help does without the Go poller for a while, where the pace of the peer promises something. That looks away meanwhile.
func (r *incoming) help() bool {
	r.keen = false
	habit := r.spin.begin()
	polls, soon := r.poller.limit > 0 && habit.due(), r.poller.short > 0 && r.spin.soon()
	if !polls && !soon || !r.poller.enter(&r.spin.spell, r.spin.began) {
		return false
	}
	defer r.poller.leave()
	came := polls && r.poll(habit) || soon && r.waitShortly()
	if came {
		r.wait.lookAway(false)
	}
	return came
}

// poll tries again and again, or naps.
func (r *incoming) poll(habit *pace) bool {
	limit := r.spin.patience(r.poller.limit)
	if habit == &r.spin.flow {
		nap(limit)
		limit = 0
	}
	pause := pollPause
	if habit == &r.spin.bulk { // what has gathered meanwhile is read in one piece
		pause = pollPauseBulk
		rest(pause)
	}
	came := false
	for began := time.Now(); ; rest(pause) {
		if came = r.try(); came || time.Since(began) >= limit {
			break
		}
	}
	habit.polled(came)
	return came
}

// waitShortly makes a short wait.
func (r *incoming) waitShortly() bool {
	if awaitFD(r.fd, pollArrivals, r.poller.short) && r.try() {
		return true
	}
	r.spin.first = pollFirst
	return false
}

// sit waits on a seat, where waits have lately been short.
func (r *incoming) sit() bool {
	r.sits = false
	if !r.spin.sits.due() || !r.poller.enter(&r.spin.spell, r.spin.began) {
		return false
	}
	defer r.poller.leave()
	if r.spin.slept {
		r.spin.slept = false
		standIn()
	}
	if !r.wait.sit(false, &r.poller.seats) || !r.try() {
		r.spin.sits = pace{}
		return false
	}
	if !r.spin.sits.hot {
		r.spin.sits = pace{hot: true}
	}
	r.wait.lookAway(false)
	return true
}
