package await

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A Reader is how the reader of a descriptor waits. Only the reader uses it, except for Wrote.
type Reader struct {
	side
	fd       int
	traffic  traffic
	batch    batching
	deferred atomic.Bool // the reader lets messages gather
	silent   bool        // nothing can be acknowledged

	attempt func() (n int, done bool) // of the Do in flight
	n       int
}

func (r *Reader) use(fd int, wait watch, p *Policy) {
	r.side.use(wait, p, false, r.expect)
	r.fd, r.try = fd, r.tryOnce
	r.thread.hot = true // the answers of a handshake are mostly near
}

// Do calls try whenever something may have come, until try is done, or ctx ends; n is how many
// bytes it has read. It makes one try at least, unless ctx has ended. The errors are those of Wait.
func (r *Reader) Do(ctx context.Context, try func() (n int, done bool)) error {
	r.attempt, r.n = try, 0
	r.begin(IsNoWait(ctx))
	err := r.do(ctx, r.readyFn)
	r.end(r.n)
	r.attempt = nil
	return err
}

func (r *Reader) tryOnce() (done bool) {
	r.n, done = r.attempt()
	r.took(r.n)
	return done
}

// RestOfPacket says whether the next Do is for the rest of a packet that has begun to come.
func (r *Reader) RestOfPacket(is bool) { r.traffic.mid = is }

// took is called after a read of n bytes, while the descriptor is still known to be open.
//
// A kernel acknowledges every second segment at once, and the others when the program writes, or
// after 40 milliseconds. If a segment is as large as a message, as over the loopback, the peer's
// congestion control gets only half of the acknowledgements that it goes by: with BBR the
// connection is then paced too slowly for as long as it lasts.
func (r *Reader) took(n int) {
	if CanPoll && !r.silent && r.traffic.streams(n) {
		r.silent = !sys.QuickAck(r.fd)
	}
}

// end is called after a read of n bytes.
func (r *Reader) end(n int) {
	if !CanPoll {
		return
	}
	var waited time.Duration
	if r.traffic.kind != nil {
		waited = r.waited()
	}
	r.traffic.end(n, waited, r.policy.limit)
	r.batch.came(n)
}

// Wrote is called after a write of n bytes, by the writer: an answer is likely. The reader, should
// it let messages gather, looks at once.
func (r *Reader) Wrote(n int64) {
	r.traffic.written(n)
	if r.deferred.Load() {
		r.wait.wake()
	}
}

// expect waits for a while without the Go poller, if the peer's pace makes that promising, and
// reports whether something came. If so, the Go poller looks away from then on.
func (r *Reader) expect() bool {
	r.began = time.Now()
	kind := r.traffic.begin()
	if r.flows(kind) {
		// That has to end with the context, which is not watched yet (see do).
		if r.once && !r.batch.sleeps(r.began, &r.policy.batches) {
			return false
		}
		if d := r.batch.next(r.began, &r.policy.batches); d > 0 {
			if r.letGather(d) {
				return true
			}
			kind = r.traffic.begin() // something may have been written meanwhile
		}
	}
	r.mayPoll = false
	if r.policy.limit == 0 || !kind.due() || r.policy.machine.isBusy(r.began) || !r.policy.enter(&r.started, r.began) {
		return false
	}
	defer r.policy.leave()
	came := r.tryAgain(kind)
	if came {
		r.wait.lookAway(false)
	}
	return came
}

// flows reports whether what the reader waits for comes in a flow.
func (r *Reader) flows(kind *history) bool {
	switch {
	case kind == &r.traffic.bulk: // possibly within a flow, which goes on
	case kind == &r.traffic.flow && r.policy.limit > 0 && kind.hot:
		return true
	default:
		r.batch.lost()
	}
	return false
}

// letGather lets messages gather for d, or until something is written. Meanwhile it occupies
// neither a thread nor a processor.
func (r *Reader) letGather(d time.Duration) bool {
	r.wait.lookAway(false)
	r.started = turn{}
	r.deferred.Store(true)
	r.wait.pause(d, &r.traffic.spoke)
	r.deferred.Store(false)
	came := r.try()
	r.traffic.flow.polled(came)
	if !came {
		r.batch.lost()
	}
	return came
}

// tryAgain tries again and again; in a flow it sleeps in a system call, and tries once.
func (r *Reader) tryAgain(kind *history) bool {
	limit := r.traffic.patience(r.policy.limit)
	if kind == &r.traffic.flow {
		sys.Nap(r.batch.sleep(r.began, limit))
		limit = 0
	}
	pause := pollPause
	if kind == &r.traffic.bulk { // what has gathered meanwhile is read in one piece
		pause = pollPauseBulk
		spinFor(pause)
	}
	came := false
	for began, last := r.began, time.Now(); ; spinFor(pause) {
		came = r.try()
		now := time.Now()
		r.policy.machine.tried(now.Sub(last), now)
		if came || now.Sub(began) >= limit {
			break
		}
		last = now
	}
	kind.polled(came)
	return came
}
