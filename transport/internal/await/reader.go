package await

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
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

// spinPause is the time between two tries for the rest of something large: each piece costs a call,
// and an acknowledgement that the peer has to process.
const spinPause = 15 * time.Microsecond

func (r *Reader) use(fd int, wait watch, p *Policy) {
	r.side.use(wait, p, false)
	r.fd, r.try, r.expect = fd, r.tryOnce, r.awaitTraffic
	r.thread.formed = true // the answers of a handshake are mostly near
}

// Do calls try whenever something may have come, until try is done, or ctx ends; n is how many
// bytes it has read. It makes one try at least, unless ctx has ended. The errors are those of Wait.
func (r *Reader) Do(ctx context.Context, try func() (n int, done bool)) error {
	r.attempt, r.n = try, 0
	r.begin(patience.IsNoWait(ctx))
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
	waited, did := r.waited()
	if did {
		r.traffic.end(waited, r.policy.limit)
	} else if n == 0 { // a mere look: what the reader waits for is still to come
		return
	}
	r.traffic.read(n)
	r.batch.came(n)
}

// Wrote is called after a write, by the writer: an answer is likely. The reader, should it let
// messages gather, looks at once.
func (r *Reader) Wrote() {
	if !r.traffic.wrote.Load() {
		r.traffic.wrote.Store(true)
	}
	if r.deferred.Load() {
		r.wait.wake()
	}
}

// awaitTraffic waits for a while without the Go poller, if what was read last makes that promising,
// and reports whether something came. If so, the Go poller looks away from then on.
//
// In a flow it sleeps for a moment: it then reads in one call what has come meanwhile, and the peer
// is spared the work of waking it. For the rest of something large, which is on its way, it spins.
func (r *Reader) awaitTraffic() (came bool) {
	r.traffic.begin()
	if r.flows() {
		// That has to end with the context, which is not watched yet (see do).
		if r.once && !r.batch.sleeps(r.began, &r.policy.batches) {
			return false
		}
		if d := r.batch.next(r.began, &r.policy.batches); d > 0 {
			if r.letGather(d) {
				return true
			}
			r.traffic.begin() // something may have been written meanwhile
		}
	}
	r.expected = true
	kind := r.traffic.kind
	if r.policy.limit == 0 || kind == nil || !kind.formed || !r.policy.enter() {
		return false
	}
	defer r.policy.leave()
	if kind == &r.traffic.flow {
		sys.Nap(r.batch.sleep(r.began, r.policy.limit))
		came = r.try()
	} else {
		came = r.spin()
	}
	r.traffic.tried(came)
	if came {
		r.wait.lookAway(false)
	}
	return came
}

// flows reports whether what the reader waits for comes in a flow.
func (r *Reader) flows() bool {
	switch kind := r.traffic.kind; {
	case kind == &r.traffic.rest: // possibly within a flow, which goes on
	case kind == &r.traffic.flow && r.policy.limit > 0 && kind.formed:
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
	r.deferred.Store(true)
	r.wait.pause(d, &r.traffic.wrote)
	r.deferred.Store(false)
	came := r.try()
	r.traffic.tried(came)
	if !came {
		r.traffic.flow.judge(false)
		r.batch.lost()
	}
	return came
}

// spin tries again and again; what has come between two tries is read in one piece.
func (r *Reader) spin() (came bool) {
	for !came && time.Since(r.began) < r.policy.limit {
		for since := time.Now(); time.Since(since) < spinPause; {
		}
		came = r.try()
	}
	return came
}
