package transport

import (
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// incoming is how the reader of a descriptor waits. Only the reader uses it, except for wrote.
type incoming struct {
	waits
	fd     int
	spin   spin
	gather gathering
	dozing atomic.Bool
	silent bool // nothing can be acknowledged
}

// use says where to wait.
func (r *incoming) use(fd int, wait watch, p *poller) {
	r.fd, r.wait, r.poller, r.side = fd, wait, p, r
}

// took is called after a read of n bytes, while the descriptor is still known to be open.
//
// A kernel acknowledges every second segment at once, and the others when the program writes, or after 40 milliseconds. If a segment is as
// large as a message, as over the loopback, the peer's congestion control gets only half of the acknowledgements that it goes by: with BBR
// the connection is then paced too slowly for as long as it lasts.
func (r *incoming) took(n int) {
	if canPoll && !r.silent && r.spin.streams(n) {
		r.silent = !sys.QuickAck(r.fd)
	}
}

// end is called after a read of n bytes.
func (r *incoming) end(n int) {
	if !canPoll {
		return
	}
	var waited time.Duration
	if r.spin.habit != nil {
		waited = r.waited()
	}
	r.spin.end(n, waited, r.poller.limit)
	r.gather.came(n)
}

// wrote is called after a write of n bytes. It ends a doze, so that the reader is there for the answer.
func (r *incoming) wrote(n int64) {
	r.spin.written(n)
	if r.dozing.Load() {
		r.wait.stir()
	}
}

// expect waits for a while without the Go poller, if the peer's pace makes that promising, and reports whether something came. If so, the
// Go poller looks away from then on.
func (r *incoming) expect() bool {
	r.began = time.Now()
	habit := r.spin.begin()
	if r.flows(habit) {
		if r.once && !r.gather.naps(r.began, &r.poller.gathered) { // a doze has to end with the context, which is not watched yet (see await)
			return false
		}
		if d := r.gather.next(r.began, &r.poller.gathered); d > 0 {
			if r.doze(d) {
				return true
			}
			habit = r.spin.begin() // something may have been written meanwhile
		}
	}
	r.keen = false
	if r.poller.limit == 0 || !habit.due() || !r.poller.enter(&r.spell, r.began) {
		return false
	}
	defer r.poller.leave()
	came := r.poll(habit)
	if came {
		r.wait.lookAway(false)
	}
	return came
}

// flows reports whether what the reader waits for comes in a flow.
func (r *incoming) flows(habit *pace) bool {
	switch {
	case habit == &r.spin.bulk: // possibly within a flow, which goes on
	case habit == &r.spin.flow && r.poller.limit > 0 && habit.hot:
		return true
	default:
		r.gather.lost()
	}
	return false
}

// doze lets messages gather for d, or until something is written. Meanwhile it occupies neither a thread nor a processor.
func (r *incoming) doze(d time.Duration) bool {
	r.wait.lookAway(false)
	r.spell = spell{}
	r.dozing.Store(true)
	r.wait.doze(d, &r.spin.spoke)
	r.dozing.Store(false)
	came := r.tries.try()
	r.spin.flow.polled(came)
	if !came {
		r.gather.lost()
	}
	return came
}

// poll tries again and again; in a flow it naps, and tries once.
func (r *incoming) poll(habit *pace) bool {
	limit := r.spin.patience(r.poller.limit)
	if habit == &r.spin.flow {
		sys.Nap(r.gather.nap(r.began, limit))
		limit = 0
	}
	pause := pollPause
	if habit == &r.spin.bulk { // what has gathered meanwhile is read in one piece
		pause = pollPauseBulk
		rest(pause)
	}
	came := false
	for began := time.Now(); ; rest(pause) {
		if came = r.tries.try(); came || time.Since(began) >= limit {
			break
		}
	}
	habit.polled(came)
	return came
}
