// Package pace has what slows a virtual socket down: a bucket that fills with time, and waits that
// end with the socket.
package pace

import (
	"context"
	"math"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// maxLateness is the longest lateness of a waiter that is made up for: a machine that was suspended
// owes nothing.
const maxLateness = 100 * time.Millisecond

// A Bucket fills with bytes as time passes.
type Bucket struct {
	rate  float64 // bytes per second; 0: no limit
	burst float64 // the most it holds
	step  float64 // how many bytes a waiter waits for: those of 10 ms

	mu   sync.Mutex
	held float64 // below 0 when several have taken from it at once
	at   time.Time
}

// NewBucket makes a full one, for a rate in bytes per second: 0 or less, or no number, is no limit.
// A burst of 0 is what passes in a tenth of a second.
func NewBucket(rate float64, burst int) *Bucket {
	if !(rate > 0) || math.IsInf(rate, 1) {
		return &Bucket{}
	}
	b := &Bucket{rate: rate, burst: float64(burst), at: time.Now()}
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
func (b *Bucket) fill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		came := passed.Seconds() * b.rate
		b.held = max(b.held-came, min(b.held+came, b.burst))
		b.at = now
	}
}

// overslept counts what has come in since due, at which a waiter was to wake, even if it is more
// than the burst: a timer is late by up to a millisecond, on a busy machine by more, and that is no
// rest.
func (b *Bucket) overslept(due time.Time) {
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
func (b *Bucket) look(n int64, single bool) (k int64, again time.Time) {
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

// Allow waits until some bytes of n may pass, and returns how many.
func (b *Bucket) Allow(ctx context.Context, p *Pauser, n int64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	single := patience.IsNoWait(ctx)
	for {
		k, again := b.look(n, single)
		switch {
		case k > 0 || n == 0:
			return k, nil
		case p.IsLifted():
			return n, nil
		}
		if single {
			return 0, os.ErrDeadlineExceeded
		}
		if err := p.Until(ctx, again); err != nil {
			return 0, err
		}
		b.overslept(again)
	}
}

// IsUnlimited reports whether everything may pass.
func (b *Bucket) IsUnlimited() bool { return b.rate == 0 }

// Take takes n bytes that have passed out of the Bucket. The bucket is filled first, for time has
// passed while the carrier below waited; what a full bucket cannot hold is lost.
func (b *Bucket) Take(n int64) {
	if b.rate == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(time.Now())
	b.held -= float64(n)
}
