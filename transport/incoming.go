package transport

import "time"

// incoming is how the reader of a descriptor waits. Only the reader uses it, but for the spin's written.
type incoming struct {
	waits
	fd   int
	spin spin
}

// use names where to wait.
func (r *incoming) use(fd int, wait watch, p *poller) {
	r.fd, r.wait, r.poller, r.expect = fd, wait, p, r.help
}

// end follows a read of n bytes.
func (r *incoming) end(n int) {
	if !canPoll {
		return
	}
	var waited time.Duration
	if r.spin.habit != nil {
		waited = r.waited()
	}
	r.spin.end(n, waited, r.poller.limit)
}

// help does without the Go poller for a while, where the pace of the peer promises something. That looks away meanwhile.
func (r *incoming) help() bool {
	r.keen, r.began = false, time.Now()
	habit := r.spin.begin()
	polls, soon := r.poller.limit > 0 && habit.due(), r.poller.short > 0 && r.spin.soon()
	if !polls && !soon || !r.poller.enter(&r.spell, r.began) {
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
