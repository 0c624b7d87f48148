package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A flowing is a peer that sends to a reader, which naps, or dozes as its gathering says.
type flowing struct {
	g      gathering
	known  *gathered
	now    time.Time
	rate   func(doze time.Duration) float64 // bytes a second
	dozes  int
	longer time.Duration // length of all dozes together
}

// aNap is how long a nap takes, with what the kernel adds.
const aNap = 2 * DefaultPolling

func flows(rate func(doze time.Duration) float64) *flowing {
	return &flowing{rate: rate, known: new(gathered), now: time.Unix(1e9, 0)}
}

// run makes the peer send for d, and returns how long the last doze was.
func (f *flowing) run(d time.Duration) (doze time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); {
		doze = f.g.next(f.now, f.known)
		took := max(doze, aNap)
		if doze > 0 {
			f.dozes++
			f.longer += doze
		}
		f.now = f.now.Add(took)
		f.g.came(int(f.rate(doze) * took.Seconds()))
	}
	return doze
}

// evenly is the rate of a peer that sends messages as they are made, whether the reader dozes or not.
func evenly(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// from is the rate of a peer that is twice as fast if its messages gather for d at least.
func from(d time.Duration, rate float64) func(time.Duration) float64 {
	return func(doze time.Duration) float64 {
		if doze >= d {
			return 2 * rate
		}
		return rate
	}
}

// Which readers doze, after half a second, and for how long.
func TestGathering(t *testing.T) {
	const mega = 1 << 20
	for _, tt := range []struct {
		name string
		rate func(time.Duration) float64
		doze time.Duration
	}{
		{"a peer that gathers for 5 ms", from(5*time.Millisecond, 40*mega), 10 * time.Millisecond},
		{"for 7 ms", from(7*time.Millisecond, 40*mega), 10 * time.Millisecond},
		{"for 11 ms", from(11*time.Millisecond, 40*mega), 0},
		{"larger messages", from(time.Millisecond, 256*mega), 2 * time.Millisecond},
		{"that gather for longer", from(3*time.Millisecond, 256*mega), 4 * time.Millisecond},
		{"so large that all is full at once", from(time.Millisecond, 1024*mega), 0},
		{"a peer that has no more to say", evenly(40 * mega), 0},
		{"one that has little to say", from(time.Millisecond, 3*mega), 0},
		{"one that is slowed down by it", func(doze time.Duration) float64 { return 40 * mega * float64(aNap) / float64(max(doze, aNap)) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := flows(tt.rate)
			require.Zero(t, f.run(gatherAfter))
			require.InDelta(t, tt.doze, f.run(500*time.Millisecond), float64(100*time.Microsecond))
		})
	}
}

// A peer that sends no more when its messages gather is delayed ever more seldom.
func TestGatheringInVain(t *testing.T) {
	f := flows(evenly(40 << 20))
	trial := func() time.Duration {
		before := f.longer
		for f.longer == before || f.g.phase == gatherTrial {
			f.run(time.Millisecond)
		}
		return f.longer - before
	}
	const each = (gatherSkip + gatherTries) * gatherLongest
	for pause := gatherPause; pause < 10*gatherMaxPause; pause *= 2 {
		require.InDelta(t, each, trial(), float64(2*gatherLongest))
		require.Zero(t, f.run(min(pause, gatherMaxPause)-gatherLongest))
	}
}

// A peer that is slowed down is spared the rest of the trial.
func TestGatheringHarms(t *testing.T) {
	f := flows(func(doze time.Duration) float64 { return 40 << 20 * float64(aNap) / float64(max(doze, aNap)) })
	f.run(time.Second)
	require.Equal(t, (gatherSkip+gatherTries)*gatherLongest, f.longer)
}

// Once dozing brings no more than not dozing, the reader stops dozing; it dozes again when that brings more again.
func TestGatheringEnds(t *testing.T) {
	gathers := from(gatherLongest, 40<<20)
	for _, slow := range []float64{40 << 20, 1 << 20, 0} {
		f := flows(gathers)
		require.NotZero(t, f.run(time.Second))
		f.rate = evenly(slow)
		f.run(2 * gatherAfter)
		before := f.dozes
		require.Zero(t, f.run(gatherPause/2))
		require.Equal(t, before, f.dozes)
		f.rate = gathers
		f.run(2 * gatherMaxPause)
		require.Equal(t, gatherLongest, f.run(time.Second))
	}
}

// After a trial that was not in vain, the trials in vain before it no longer count.
func TestGatheringForgets(t *testing.T) {
	gathers := from(gatherLongest, 40<<20)
	f := flows(evenly(40 << 20))
	f.run(gatherMaxPause)
	f.rate = gathers
	require.NotZero(t, f.run(2*gatherMaxPause))
	f.rate = evenly(40 << 20)
	require.Zero(t, f.run(2*gatherAfter))
	f.rate = gathers
	require.NotZero(t, f.run(gatherPause+2*gatherAfter))
}

// After a trial that was not in vain, a flow that begins like that of the trial need not last for as long, nor is there another trial, for a
// minute. Any reader of the transport may have made the trial.
func TestGatheringKnown(t *testing.T) {
	gathers := func() *flowing { return flows(from(gatherLongest, 40<<20)) }
	for _, tt := range []struct {
		name  string
		other float64 // what the rate of the second flow is of the first one's
		later time.Duration
		soon  bool
	}{
		{"the same rate", 1, 0, true},
		{"less", 0.6, gatherKnown / 2, true},
		{"more", 1.9, gatherKnown / 2, true},
		{"much less", 0.4, 0, false},
		{"much more", 2.1, 0, false},
		{"much later", 1, gatherKnown, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := gathers()
			require.Zero(t, first.run(gatherAfter))
			require.NotZero(t, first.run(time.Second))
			second := flows(from(gatherLongest, 40<<20*tt.other))
			second.known, second.now = first.known, first.now.Add(tt.later)
			for range 3 {
				require.Zero(t, second.run(gatherSoon))
				require.Equal(t, tt.soon, second.run(2*aNap) > 0)
				require.Equal(t, tt.soon, second.g.phase == gatherDozing)
				require.NotZero(t, second.run(time.Second), "tried by itself")
				second.g.lost()
				tt.soon = true
			}
		})
	}
}

// What is known of one flow may be wrong for another one, which shows after gatherAfter. Then it is known no longer, but for flows of
// another rate.
func TestGatheringKnownInVain(t *testing.T) {
	for _, tt := range []struct {
		rate  float64
		keeps bool
	}{{40 << 20, false}, {100 << 20, true}} {
		first := flows(from(gatherLongest, 40<<20))
		require.NotZero(t, first.run(time.Second))
		second := flows(evenly(tt.rate))
		second.known, second.now = first.known, first.now
		require.Zero(t, second.run(gatherPause))
		require.Equal(t, tt.keeps, first.known.doze(40<<20, second.now) > 0)
		second.g.lost()
		second.rate, second.known = first.rate, first.known
		second.known.worthIt(40<<20, gatherLongest, second.now)
		require.Zero(t, second.run(2*gatherSoon), "a reader that has tried in vain does not ask so soon")
	}
}

// During a nap no more comes than a window has room for.
func TestGatheringNap(t *testing.T) {
	const limit = 60 * time.Microsecond
	for _, tt := range []struct {
		came int
		in   time.Duration
		nap  time.Duration
	}{
		{0, time.Millisecond, limit},
		{1, 0, 0},
		{napBytes / 100, limit, limit},
		{napBytes, limit, limit},
		{2 * napBytes, limit, limit / 2},
		{10 * napBytes, 5 * limit, limit / 2},
		{1, time.Hour, limit},
	} {
		var g gathering
		now := time.Unix(1e9, 0)
		require.Equal(t, limit, g.nap(now, limit), "the first one")
		g.came(tt.came)
		require.Equal(t, tt.nap, g.nap(now.Add(tt.in), limit), "%d bytes in %v", tt.came, tt.in)
	}
}
