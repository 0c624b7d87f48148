package virtual

import (
	"context"
	"math"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// LimitOptions say how fast bytes may pass. The zero value does not limit anything.
type LimitOptions struct {
	// Read and Write are bytes per second, of what is read and what is written. 0 or less, or no
	// number: as fast as it goes.
	Read, Write float64
	// Burst is how many bytes may pass at once after a rest, in each direction. 0 is what passes in
	// a tenth of a second; it is at least 1. An operation that waits for bytes and wakes late takes
	// those of the lateness, too, even if they are more than Burst.
	Burst int
	// Shared says that the rates are those of all connections of the transport together, and not of
	// each. Those that wait are served in no certain order. Reads that were waiting for the peers
	// while the bucket filled may each take a Burst when bytes come; those that follow wait until
	// the rate is kept again.
	Shared bool
}

// Limit makes a Transport whose streams carry so many bytes a second, over any other: a bucket that
// fills with time is emptied by what passes, and an operation on an empty one waits, until its
// context ends or the stream is closed. A packet of a carrier that keeps packets goes out whole
// once a byte may. Bytes that are not read stay in the carrier below, so the peer feels the
// back-pressure. A single try ([transport.NoWait]) takes what the bucket holds, or is a time-out.
// Connecting and accepting are not limited.
//
// A hand-off passes through: in the other process the bucket is full again. Time is package time's,
// so that it works in a testing/synctest bubble.
func Limit(tr transport.Transport, o LimitOptions) transport.Transport {
	w := o.wrapper()
	if o.Shared {
		read, write := o.buckets()
		w.wrap = func(below *transport.Stream) end { return newLimited(below, read, write) }
	}
	return newWrapper(tr, w)
}

// LimitStream is [Limit] over a single stream, whatever it comes from: [transport.UnixPair],
// [transport.ConnectTCP], [transport.AdoptStream], a [transport.Listener]. It takes s over, see the
// package's doc. What s has read ahead is not limited. Shared is of no effect.
func LimitStream(s *transport.Stream, o LimitOptions) (*transport.Stream, error) {
	w := o.wrapper()
	return w.over(s, w.wrap)
}

func (o LimitOptions) wrapper() wrapper { return wrapper{wrap: o.over} }

// over is an end of a stream with rates of its own.
func (o LimitOptions) over(below *transport.Stream) end {
	read, write := o.buckets()
	return newLimited(below, read, write)
}

func (o LimitOptions) buckets() (read, write *bucket) {
	return newBucket(o.Read, o.Burst), newBucket(o.Write, o.Burst)
}

// maxLateness is the longest lateness of a waiter that is made up for: a machine that was suspended
// owes nothing.
const maxLateness = 100 * time.Millisecond

// A bucket fills with bytes as time passes.
type bucket struct {
	rate  float64 // bytes per second; 0: no limit
	burst float64 // the most it holds
	step  float64 // how many bytes a waiter waits for: those of 10 ms

	mu   sync.Mutex
	held float64 // below 0 when several have taken from it at once
	at   time.Time
}

func newBucket(rate float64, burst int) *bucket {
	if !(rate > 0) || math.IsInf(rate, 1) {
		return &bucket{}
	}
	b := &bucket{rate: rate, burst: float64(burst), at: time.Now()}
	if burst <= 0 {
		b.burst = rate / 10
	}
	b.burst = max(b.burst, 1)
	b.held = b.burst
	b.step = min(max(rate/100, 1), b.burst)
	return b
}

// fill counts what has come in since the last time; b.mu is held. What the bucket holds beyond its
// burst (see overslept) goes as fast as it came.
func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		came := passed.Seconds() * b.rate
		b.held = max(b.held-came, min(b.held+came, b.burst))
		b.at = now
	}
}

// overslept counts what has come in since due, at which a waiter was to wake, even if it is more
// than the burst: a timer is late by up to a millisecond, on a busy machine by more, and that is no
// rest.
func (b *bucket) overslept(due time.Time) {
	now := time.Now()
	if now.Before(due) { // the wait was lifted
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(due)
	if late := min(now.Sub(b.at), maxLateness); late > 0 {
		b.held += late.Seconds() * b.rate
		b.at = now
	}
}

// look returns how many bytes of n may pass now, or else when to look again.
func (b *bucket) look(n int64, single bool) (k int64, again time.Time) {
	if b.rate == 0 || n == 0 {
		return n, time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.fill(now)
	enough := min(float64(n), b.step)
	if single {
		enough = 1
	}
	if b.held >= enough-1e-6 { // what rounding has lost
		return max(int64(min(float64(n), b.held)), 1), time.Time{}
	}
	wait := (enough - b.held) / b.rate * float64(time.Second)
	return 0, now.Add(time.Duration(min(math.Ceil(wait), float64(time.Hour))))
}

// allow waits until some bytes of n may pass, and returns how many.
func (b *bucket) allow(ctx context.Context, p *pauser, n int64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	single := transport.IsNoWait(ctx)
	for {
		k, again := b.look(n, single)
		switch {
		case k > 0 || n == 0:
			return k, nil
		case p.isLifted():
			return n, nil
		}
		if single {
			return 0, os.ErrDeadlineExceeded
		}
		if err := p.until(ctx, again); err != nil {
			return 0, err
		}
		b.overslept(again)
	}
}

// take takes n bytes that have passed out of the bucket. The bucket is filled first, for time has
// passed while the carrier below waited; what a full bucket cannot hold is lost.
func (b *bucket) take(n int64) {
	if b.rate == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(time.Now())
	b.held -= float64(n)
}

// A limited is an end of Limit.
type limited struct {
	through
	in, out         *bucket
	inward, outward *pauser
	vec             [][]byte // the writer's
}

func newLimited(below *transport.Stream, read, write *bucket) end {
	return &limited{
		through: through{below}, in: read, out: write, inward: newPauser(), outward: newPauser(),
	}
}

func (c *limited) read(ctx context.Context, p []byte) (int, error) {
	k, err := c.in.allow(ctx, c.inward, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := c.through.read(ctx, p[:k])
	c.in.take(int64(n))
	return n, err
}

func (c *limited) write(ctx context.Context, v [][]byte) (int64, error) {
	if c.out.rate == 0 {
		return c.through.write(ctx, v)
	}
	size := length(v)
	k, err := c.out.allow(ctx, c.outward, size)
	if err != nil {
		return 0, err
	}
	if k < size && !c.below.KeepsPackets() { // a packet goes out whole, and the bucket owes the rest
		c.vec = cut(c.vec[:0], v, 0, k)
		v = c.vec
	}
	n, err := c.through.write(ctx, v)
	if wasLost(err) { // the callback may still look at the vector
		c.vec = nil
	}
	clear(c.vec)
	c.out.take(n)
	return n, err
}

// closeWrite lets a write that waits here go on: the stream below says what a write after it gives.
func (c *limited) closeWrite() error {
	err := c.through.closeWrite()
	if err == nil {
		c.outward.lift()
	}
	return err
}
