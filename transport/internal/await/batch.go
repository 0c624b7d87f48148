package await

import (
	"sync"
	"time"
)

// A batching finds out whether one-way traffic comes faster when its reader pauses, that is looks
// every few milliseconds only.
//
// Sending a small message costs the peer several microseconds while each message makes its own way
// through the kernels. Once unread messages have filled the connection's window, they gather in the
// peer's kernel and leave together, and each costs half as much. So a peer that sends as fast as it
// can becomes faster; the messages of any other peer would only be delayed. A trial shows which
// kind of peer it is: the reader goes on to pause as long as more comes through than before, by a
// good part. The readers of one transport share the result of a trial that was not in vain: a flow
// that begins like the one of the trial pauses as soon as that is seen.
type batching struct {
	phase     batchPhase
	began     time.Time // of the measurement
	bytes     int64     // since then
	plain     float64   // bytes a second without pausing
	length    time.Duration
	skip      int           // pauses that are still to pass before the measurement
	notBefore time.Time     // no trial begins before this time
	retry     time.Duration // after a trial in vain

	looked time.Time // when the reader last slept
	since  int64     // bytes that have come since then
}

type batchPhase int

const (
	batchNothing batchPhase = iota // no flow
	batchPlain                     // the rate without pausing is measured
	batchTrial                     // the rate with pausing is measured
	batchPausing                   // pausing is worth it
)

// sleepBytes is how much may come during a sleep, at most: a connection's first window.
const sleepBytes = 64 << 10

const (
	// How long a flow must last before the reader pauses; and how often the rate is checked then.
	batchAfter = 50 * time.Millisecond
	// How long at least if a trial has shown that pausing is worth it.
	batchSoon  = 5 * time.Millisecond
	batchKnown = time.Minute // for how long the result of a trial, or of pausing, is good
	batchLike  = 2.0         // by which factor the rate may differ from that of the trial
	// What a pause aims to gather: more than a window, and less than what a sender's kernel takes.
	batchBytes = 512 << 10
	// Bytes a second: a peer that sends fewer does not send as fast as it can.
	batchLeast = 4 << 20
	batchGain  = 1.2 // pausing must raise the rate by this factor
	// If pausing lowers the rate by more than this factor, longer pauses are no better.
	batchHope = 0.95

	// For shorter pauses, looking at intervals, as a sleep does, is as good.
	batchShortest = time.Millisecond
	batchLongest  = 10 * time.Millisecond

	batchSkip  = 2 // first pauses, not measured: after them the peer's kernel has what it needs
	batchTries = 4 // pauses that are measured

	batchRetry    = time.Second
	batchMaxRetry = time.Minute
)

// came is called after a read of n bytes.
func (g *batching) came(n int) {
	g.bytes += int64(n)
	g.since += int64(n)
}

// sleep is called before a sleep and returns its length, limit at most: so short that the peer need
// not wait for the reader to make room.
func (g *batching) sleep(now time.Time, limit time.Duration) time.Duration {
	took, came := now.Sub(g.looked), g.since
	g.looked, g.since = now, 0
	return time.Duration(min(float64(limit), sleepBytes/float64(max(came, 1))*float64(took)))
}

// lost is called when the traffic is no longer one-way.
func (g *batching) lost() { g.phase = batchNothing }

// sleeps reports whether next, called now, would start no pause, so that the reader sleeps.
func (g *batching) sleeps(now time.Time, known *batches) bool {
	return g.phase == batchNothing || g.phase == batchPlain && now.Sub(g.began) < batchAfter && g.known(known, now) == 0
}

// known is how long to pause, as known before the flow has lasted for batchAfter; 0: nothing is
// known.
func (g *batching) known(known *batches, now time.Time) time.Duration {
	if now.Sub(g.began) < batchSoon || now.Before(g.notBefore) {
		return 0
	}
	return known.pause(g.rate(now), now)
}

// next is called before the reader of a flow waits, and returns how long to pause; 0: not at all.
func (g *batching) next(now time.Time, known *batches) time.Duration {
	took := now.Sub(g.began)
	switch g.phase {
	case batchNothing:
		g.measure(batchPlain, now)
	case batchPlain:
		switch length := g.known(known, now); {
		case length > 0:
			g.plain, g.length = g.rate(now), length
			g.measure(batchPausing, now)
		case took >= batchAfter:
			g.tryIt(now)
		}
	case batchTrial:
		switch {
		case g.skip > 0:
			if g.skip--; g.skip == 0 {
				g.measure(batchTrial, now)
			}
		case took < batchTries*g.length:
		case g.gains(batchGain, now):
			g.retry = 0
			known.worthIt(g.plain, g.length, now)
			g.measure(batchPausing, now)
		case g.length < batchLongest && g.gains(batchHope, now):
			g.length, g.skip = min(2*g.length, batchLongest), batchSkip
		default:
			known.inVain(g.plain, now)
			g.giveUp(now)
		}
	case batchPausing:
		switch {
		case took < batchAfter:
		case g.gains(batchGain, now):
			known.worthIt(g.plain, g.length, now)
			g.measure(batchPausing, now)
		default:
			known.inVain(g.plain, now)
			g.giveUp(now)
		}
	}
	if g.phase == batchTrial || g.phase == batchPausing {
		return g.length
	}
	return 0
}

// tryIt begins a trial, if the rate without pausing makes one promising.
func (g *batching) tryIt(now time.Time) {
	g.plain = g.rate(now)
	g.length = time.Duration(min(batchBytes/g.plain*float64(time.Second), float64(batchLongest)))
	if g.plain < batchLeast || g.length < batchShortest || now.Before(g.notBefore) {
		g.measure(batchPlain, now)
		return
	}
	g.phase, g.skip = batchTrial, batchSkip
}

func (g *batching) measure(phase batchPhase, now time.Time) {
	g.phase, g.began, g.bytes = phase, now, 0
}

func (g *batching) rate(now time.Time) float64 { return float64(g.bytes) / now.Sub(g.began).Seconds() }

// gains reports whether the rate is at least much times the rate without pausing.
func (g *batching) gains(much float64, now time.Time) bool { return g.rate(now) >= much*g.plain }

// giveUp goes on without pausing, for a while at least.
func (g *batching) giveUp(now time.Time) {
	g.retry = min(max(2*g.retry, batchRetry), batchMaxRetry)
	g.notBefore = now.Add(g.retry)
	g.measure(batchPlain, now)
}

// batches is what the readers of one Transport know of each other's trials. The zero value says
// that there has been none.
type batches struct {
	mu     sync.Mutex
	plain  float64 // the rate without pausing, of the last flow for which pausing was worth it
	length time.Duration
	until  time.Time
}

// pause is how long a reader is to pause whose flow has the given rate without pausing; 0: that is
// not known.
func (k *batches) pause(plain float64, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.like(plain) || !now.Before(k.until) {
		return 0
	}
	return k.length
}

func (k *batches) like(plain float64) bool {
	return plain <= batchLike*k.plain && k.plain <= batchLike*plain
}

// worthIt records that pausing for length has proved worth it.
func (k *batches) worthIt(plain float64, length time.Duration, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plain, k.length, k.until = plain, length, now.Add(batchKnown)
}

// inVain records that pausing was not worth it.
func (k *batches) inVain(plain float64, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.like(plain) {
		k.until = now
	}
}
