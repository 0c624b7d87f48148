package transport

import (
	"sync"
	"time"
)

// A gathering finds out whether one-way traffic comes faster when its reader dozes, that is looks every few milliseconds only.
//
// Sending a small message costs the peer several microseconds while each message makes its own way through the kernels. Once unread
// messages have filled the connection's window, they gather in the peer's kernel and leave together, and each costs half as much. So a peer
// that sends as fast as it can becomes faster; the messages of any other peer would only be delayed. A trial shows which kind of peer it
// is: the reader goes on to doze as long as more comes through than before, by a good part. The readers of one transport share the result of
// a trial that was not in vain: a flow that begins like the one of the trial dozes as soon as that is seen.
type gathering struct {
	phase     gatherPhase
	began     time.Time // of the measurement
	bytes     int64     // since then
	plain     float64   // bytes a second without dozing
	length    time.Duration
	skip      int           // dozes that are still to pass before the measurement
	notBefore time.Time     // no trial begins before this time
	pause     time.Duration // after a trial in vain

	looked time.Time // when the reader last napped
	since  int64     // bytes that have come since then
}

type gatherPhase int

const (
	gatherNothing gatherPhase = iota // no flow
	gatherPlain                      // the rate without dozing is measured
	gatherTrial                      // the rate with dozing is measured
	gatherDozing                     // dozing is worth it
)

// napBytes is how much may come during a nap, at most: a connection's first window.
const napBytes = 64 << 10

const (
	gatherAfter = 50 * time.Millisecond // how long a flow must last before the reader dozes; and how often the rate is checked then
	gatherSoon  = 5 * time.Millisecond  // how long at least if a trial has shown that dozing is worth it
	gatherKnown = time.Minute           // for how long the result of a trial, or of dozing, is good
	gatherLike  = 2.0                   // by which factor the rate may differ from that of the trial
	gatherBytes = 512 << 10             // what a doze aims to gather: more than a window, and less than what a sender's kernel takes
	gatherLeast = 4 << 20               // bytes a second: a peer that sends fewer does not send as fast as it can
	gatherGain  = 1.2                   // dozing must raise the rate by this factor
	gatherHope  = 0.95                  // if dozing lowers the rate by more than this factor, longer dozes are no better

	gatherShortest = time.Millisecond // for shorter dozes, looking at intervals, as a nap does, is as good
	gatherLongest  = 10 * time.Millisecond

	gatherSkip  = 2 // first dozes, not measured: after them the peer's kernel has what it needs
	gatherTries = 4 // dozes that are measured

	gatherPause    = time.Second
	gatherMaxPause = time.Minute
)

// came is called after a read of n bytes.
func (g *gathering) came(n int) {
	g.bytes += int64(n)
	g.since += int64(n)
}

// nap is called before a nap and returns its length, limit at most: so short that the peer need not wait for the reader to make room.
func (g *gathering) nap(now time.Time, limit time.Duration) time.Duration {
	took, came := now.Sub(g.looked), g.since
	g.looked, g.since = now, 0
	return time.Duration(min(float64(limit), napBytes/float64(max(came, 1))*float64(took)))
}

// lost is called when the traffic is no longer one-way.
func (g *gathering) lost() { g.phase = gatherNothing }

// naps reports whether next, called now, would start no doze, so that the reader naps.
func (g *gathering) naps(now time.Time, known *gathered) bool {
	return g.phase == gatherNothing || g.phase == gatherPlain && now.Sub(g.began) < gatherAfter && g.known(known, now) == 0
}

// known is how long to doze, as known before the flow has lasted for gatherAfter; 0: nothing is known.
func (g *gathering) known(known *gathered, now time.Time) time.Duration {
	if now.Sub(g.began) < gatherSoon || now.Before(g.notBefore) {
		return 0
	}
	return known.doze(g.rate(now), now)
}

// next is called before the reader of a flow waits, and returns how long to doze; 0: not at all.
func (g *gathering) next(now time.Time, known *gathered) time.Duration {
	took := now.Sub(g.began)
	switch g.phase {
	case gatherNothing:
		g.measure(gatherPlain, now)
	case gatherPlain:
		switch length := g.known(known, now); {
		case length > 0:
			g.plain, g.length = g.rate(now), length
			g.measure(gatherDozing, now)
		case took >= gatherAfter:
			g.tryIt(now)
		}
	case gatherTrial:
		switch {
		case g.skip > 0:
			if g.skip--; g.skip == 0 {
				g.measure(gatherTrial, now)
			}
		case took < gatherTries*g.length:
		case g.gains(gatherGain, now):
			g.pause = 0
			known.worthIt(g.plain, g.length, now)
			g.measure(gatherDozing, now)
		case g.length < gatherLongest && g.gains(gatherHope, now):
			g.length, g.skip = min(2*g.length, gatherLongest), gatherSkip
		default:
			known.inVain(g.plain, now)
			g.giveUp(now)
		}
	case gatherDozing:
		switch {
		case took < gatherAfter:
		case g.gains(gatherGain, now):
			known.worthIt(g.plain, g.length, now)
			g.measure(gatherDozing, now)
		default:
			known.inVain(g.plain, now)
			g.giveUp(now)
		}
	}
	if g.phase == gatherTrial || g.phase == gatherDozing {
		return g.length
	}
	return 0
}

// tryIt begins a trial, if the rate without dozing makes one promising.
func (g *gathering) tryIt(now time.Time) {
	g.plain = g.rate(now)
	g.length = time.Duration(min(gatherBytes/g.plain*float64(time.Second), float64(gatherLongest)))
	if g.plain < gatherLeast || g.length < gatherShortest || now.Before(g.notBefore) {
		g.measure(gatherPlain, now)
		return
	}
	g.phase, g.skip = gatherTrial, gatherSkip
}

func (g *gathering) measure(phase gatherPhase, now time.Time) {
	g.phase, g.began, g.bytes = phase, now, 0
}

func (g *gathering) rate(now time.Time) float64 { return float64(g.bytes) / now.Sub(g.began).Seconds() }

// gains reports whether the rate is at least much times the rate without dozing.
func (g *gathering) gains(much float64, now time.Time) bool { return g.rate(now) >= much*g.plain }

// giveUp goes on without dozing, for a while at least.
func (g *gathering) giveUp(now time.Time) {
	g.pause = min(max(2*g.pause, gatherPause), gatherMaxPause)
	g.notBefore = now.Add(g.pause)
	g.measure(gatherPlain, now)
}

// gathered is what the readers of one Transport know of each other's trials. The zero value says that there has been none.
type gathered struct {
	mu     sync.Mutex
	plain  float64 // the rate without dozing, of the last flow for which dozing was worth it
	length time.Duration
	until  time.Time
}

// doze is how long a reader is to doze whose flow has the given rate without dozing; 0: that is not known.
func (k *gathered) doze(plain float64, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.like(plain) || !now.Before(k.until) {
		return 0
	}
	return k.length
}

func (k *gathered) like(plain float64) bool {
	return plain <= gatherLike*k.plain && k.plain <= gatherLike*plain
}

// worthIt records that dozing for length has proved worth it.
func (k *gathered) worthIt(plain float64, length time.Duration, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plain, k.length, k.until = plain, length, now.Add(gatherKnown)
}

// inVain records that dozing was not worth it.
func (k *gathered) inVain(plain float64, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.like(plain) {
		k.until = now
	}
}
