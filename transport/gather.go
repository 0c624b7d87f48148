package transport

import "time"

// A gathering finds out whether one-way traffic comes faster when its reader dozes: looks every few milliseconds only.
//
// To send a small message costs the peer several microseconds while each makes its own way through the kernels. Once what nobody reads has
// filled the connection's window, messages gather in the peer's kernel and leave together, and each costs half as much. So a peer that
// sends as fast as it can gets on faster; another one would only have its messages delayed. Which it is shows in a trial: the reader goes
// on to doze while more comes through than before, by a good part.
type gathering struct {
	phase     gatherPhase
	began     time.Time // of what is being measured
	bytes     int64     // since then
	plain     float64   // bytes a second without dozing
	length    time.Duration
	skip      int           // dozes until what comes is measured
	notBefore time.Time     // there is no trial
	pause     time.Duration // between two trials in vain

	looked time.Time // when the reader last napped
	since  int64     // bytes that have come since then
}

type gatherPhase int

const (
	gatherNothing gatherPhase = iota // no flow
	gatherPlain                      // what comes without dozing is measured
	gatherTrial                      // what comes with it
	gatherDozing                     // it is worth it
)

// napBytes are to come during a nap, at most: as much as a connection's first window.
const napBytes = 64 << 10

const (
	gatherAfter = 50 * time.Millisecond // so long a flow has lasted before anybody dozes; and how often what comes is looked at later
	gatherBytes = 512 << 10             // is to come meanwhile: more than a window, and less than what a sender's kernel takes
	gatherLeast = 4 << 20               // bytes a second: fewer come from who does not send as fast as it can
	gatherGain  = 1.2                   // so much faster it must come
	gatherHope  = 0.95                  // where it comes slower than that, to doze for longer is no better

	gatherShortest = time.Millisecond // shorter, and to look at intervals, as a nap does, is as good
	gatherFirst    = 5 * time.Millisecond
	gatherLongest  = 10 * time.Millisecond

	gatherSkip  = 2 // dozes after which the peer's kernel has what it needs
	gatherTries = 4 // dozes that are measured

	gatherPause    = time.Second
	gatherMaxPause = time.Minute
)

// came follows a read of n bytes.
func (g *gathering) came(n int) {
	g.bytes += int64(n)
	g.since += int64(n)
}

// nap comes before a nap and tells how long that is to be: no more is to come than the peer can send without waiting for the reader.
func (g *gathering) nap(now time.Time, limit time.Duration) time.Duration {
	took, came := now.Sub(g.looked), g.since
	g.looked, g.since = now, 0
	return time.Duration(min(float64(limit), napBytes/float64(max(came, 1))*float64(took)))
}

// lost is called when nothing flows one way any more.
func (g *gathering) lost() { g.phase = gatherNothing }

// naps tells whether next will not have anybody doze for now.
func (g *gathering) naps(now time.Time) bool {
	return g.phase == gatherNothing || g.phase == gatherPlain && now.Sub(g.began) < gatherAfter
}

// next comes before a wait of a reader to whom something flows, and tells how long to doze; 0: not at all.
func (g *gathering) next(now time.Time) time.Duration {
	took := now.Sub(g.began)
	switch g.phase {
	case gatherNothing:
		g.measure(gatherPlain, now)
	case gatherPlain:
		if took >= gatherAfter {
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
			g.measure(gatherDozing, now)
		case 2*g.length <= gatherLongest && g.gains(gatherHope, now):
			g.length, g.skip = 2*g.length, gatherSkip
		default:
			g.giveUp(now)
		}
	case gatherDozing:
		switch {
		case took < gatherAfter:
		case g.gains(gatherGain, now):
			g.measure(gatherDozing, now)
		default:
			g.giveUp(now)
		}
	}
	if g.phase == gatherTrial || g.phase == gatherDozing {
		return g.length
	}
	return 0
}

// tryIt begins a trial, if what has come without dozing promises something.
func (g *gathering) tryIt(now time.Time) {
	g.plain = g.rate(now)
	g.length = time.Duration(min(gatherBytes/g.plain*float64(time.Second), float64(gatherFirst)))
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

// gains tells whether so much more comes than without dozing.
func (g *gathering) gains(much float64, now time.Time) bool { return g.rate(now) >= much*g.plain }

// giveUp goes on without dozing, for a while at least.
func (g *gathering) giveUp(now time.Time) {
	g.pause = min(max(2*g.pause, gatherPause), gatherMaxPause)
	g.notBefore = now.Add(g.pause)
	g.measure(gatherPlain, now)
}
