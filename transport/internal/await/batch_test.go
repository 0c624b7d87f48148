package await

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A flowing is a peer that sends to a reader, which sleeps, or pauses as its batching says.
type flowing struct {
	g      batching
	known  *batches
	now    time.Time
	rate   func(pause time.Duration) float64 // bytes a second
	pauses int
	longer time.Duration // length of all pauses together
}

// aSleep is how long a sleep takes, with what the kernel adds.
const aSleep = 2 * 60 * time.Microsecond

func flows(rate func(pause time.Duration) float64) *flowing {
	return &flowing{rate: rate, known: new(batches), now: time.Unix(1e9, 0)}
}

// run makes the peer send for d, and returns how long the last pause was.
func (f *flowing) run(d time.Duration) (pause time.Duration) {
	for end := f.now.Add(d); f.now.Before(end); {
		pause = f.g.next(f.now, f.known)
		took := max(pause, aSleep)
		if pause > 0 {
			f.pauses++
			f.longer += pause
		}
		f.now = f.now.Add(took)
		f.g.came(int(f.rate(pause) * took.Seconds()))
	}
	return pause
}

// evenly is the rate of a peer that sends messages as they are made, whether the reader pauses or
// not.
func evenly(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// from is the rate of a peer that is twice as fast if its messages gather for d at least.
func from(d time.Duration, rate float64) func(time.Duration) float64 {
	return func(pause time.Duration) float64 {
		if pause >= d {
			return 2 * rate
		}
		return rate
	}
}

// Which readers pause, after half a second, and for how long.
func TestGathering(t *testing.T) {
	const mega = 1 << 20
	for _, tt := range []struct {
		name  string
		rate  func(time.Duration) float64
		pause time.Duration
	}{
		{"a peer that gathers for 5 ms", from(5*time.Millisecond, 40*mega), 10 * time.Millisecond},
		{"for 7 ms", from(7*time.Millisecond, 40*mega), 10 * time.Millisecond},
		{"for 11 ms", from(11*time.Millisecond, 40*mega), 0},
		{"larger messages", from(time.Millisecond, 256*mega), 2 * time.Millisecond},
		{"that gather for longer", from(3*time.Millisecond, 256*mega), 4 * time.Millisecond},
		{"so large that all is full at once", from(time.Millisecond, 1024*mega), 0},
		{"a peer that has no more to say", evenly(40 * mega), 0},
		{"one that has little to say", from(time.Millisecond, 3*mega), 0},
		{"one that is slowed down by it", func(pause time.Duration) float64 { return 40 * mega * float64(aSleep) / float64(max(pause, aSleep)) },
			0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := flows(tt.rate)
			require.Zero(t, f.run(batchAfter))
			require.InDelta(t, tt.pause, f.run(500*time.Millisecond), float64(100*time.Microsecond))
		})
	}
}

// A peer that sends no more when its messages gather is delayed ever more seldom.
func TestGatheringInVain(t *testing.T) {
	f := flows(evenly(40 << 20))
	trial := func() time.Duration {
		before := f.longer
		for f.longer == before || f.g.phase == batchTrial {
			f.run(time.Millisecond)
		}
		return f.longer - before
	}
	const each = (batchSkip + batchTries) * batchLongest
	for pause := batchRetry; pause < 10*batchMaxRetry; pause *= 2 {
		require.InDelta(t, each, trial(), float64(2*batchLongest))
		require.Zero(t, f.run(min(pause, batchMaxRetry)-batchLongest))
	}
}

// A peer that is slowed down is spared the rest of the trial.
func TestGatheringHarms(t *testing.T) {
	f := flows(func(pause time.Duration) float64 { return 40 << 20 * float64(aSleep) / float64(max(pause, aSleep)) })
	f.run(time.Second)
	require.Equal(t, (batchSkip+batchTries)*batchLongest, f.longer)
}

// Once pausing brings no more than not pausing, the reader stops pausing; it pauses again when that
// brings more again.
func TestGatheringEnds(t *testing.T) {
	gathers := from(batchLongest, 40<<20)
	for _, slow := range []float64{40 << 20, 1 << 20, 0} {
		f := flows(gathers)
		require.NotZero(t, f.run(time.Second))
		f.rate = evenly(slow)
		f.run(2 * batchAfter)
		before := f.pauses
		require.Zero(t, f.run(batchRetry/2))
		require.Equal(t, before, f.pauses)
		f.rate = gathers
		f.run(2 * batchMaxRetry)
		require.Equal(t, batchLongest, f.run(time.Second))
	}
}

// After a trial that was not in vain, the trials in vain before it no longer count.
func TestGatheringForgets(t *testing.T) {
	gathers := from(batchLongest, 40<<20)
	f := flows(evenly(40 << 20))
	f.run(batchMaxRetry)
	f.rate = gathers
	require.NotZero(t, f.run(2*batchMaxRetry))
	f.rate = evenly(40 << 20)
	require.Zero(t, f.run(2*batchAfter))
	f.rate = gathers
	require.NotZero(t, f.run(batchRetry+2*batchAfter))
}

// After a trial that was not in vain, a flow that begins like that of the trial need not last for
// as long, nor is there another trial, for a minute. Any reader of the transport may have made the
// trial.
func TestGatheringKnown(t *testing.T) {
	gathers := func() *flowing { return flows(from(batchLongest, 40<<20)) }
	for _, tt := range []struct {
		name  string
		other float64 // what the rate of the second flow is of the first one's
		later time.Duration
		soon  bool
	}{
		{"the same rate", 1, 0, true},
		{"less", 0.6, batchKnown / 2, true},
		{"more", 1.9, batchKnown / 2, true},
		{"much less", 0.4, 0, false},
		{"much more", 2.1, 0, false},
		{"much later", 1, batchKnown, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := gathers()
			require.Zero(t, first.run(batchAfter))
			require.NotZero(t, first.run(time.Second))
			second := flows(from(batchLongest, 40<<20*tt.other))
			second.known, second.now = first.known, first.now.Add(tt.later)
			for range 3 {
				require.Zero(t, second.run(batchSoon))
				require.Equal(t, tt.soon, second.run(2*aSleep) > 0)
				require.Equal(t, tt.soon, second.g.phase == batchPausing)
				require.NotZero(t, second.run(time.Second), "tried by itself")
				second.g.lost()
				tt.soon = true
			}
		})
	}
}

// What is known of one flow may be wrong for another one, which shows after batchAfter. Then it is
// known no longer, but for flows of another rate.
func TestGatheringKnownInVain(t *testing.T) {
	for _, tt := range []struct {
		rate  float64
		keeps bool
	}{{40 << 20, false}, {100 << 20, true}} {
		first := flows(from(batchLongest, 40<<20))
		require.NotZero(t, first.run(time.Second))
		second := flows(evenly(tt.rate))
		second.known, second.now = first.known, first.now
		require.Zero(t, second.run(batchRetry))
		require.Equal(t, tt.keeps, first.known.pause(40<<20, second.now) > 0)
		second.g.lost()
		second.rate, second.known = first.rate, first.known
		second.known.worthIt(40<<20, batchLongest, second.now)
		require.Zero(t, second.run(2*batchSoon), "a reader that has tried in vain does not ask so soon")
	}
}

// During a sleep no more comes than a window has room for.
func TestGatheringNap(t *testing.T) {
	const limit = 60 * time.Microsecond
	for _, tt := range []struct {
		came  int
		in    time.Duration
		sleep time.Duration
	}{
		{0, time.Millisecond, limit},
		{1, 0, 0},
		{sleepBytes / 100, limit, limit},
		{sleepBytes, limit, limit},
		{2 * sleepBytes, limit, limit / 2},
		{10 * sleepBytes, 5 * limit, limit / 2},
		{1, time.Hour, limit},
	} {
		var g batching
		now := time.Unix(1e9, 0)
		require.Equal(t, limit, g.sleep(now, limit), "the first one")
		g.came(tt.came)
		require.Equal(t, tt.sleep, g.sleep(now.Add(tt.in), limit), "%d bytes in %v", tt.came, tt.in)
	}
}
