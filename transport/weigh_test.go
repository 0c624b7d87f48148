package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An answering is a peer whose answers take the time polls to reach a reader that polls, and sits to reach one that has sat for some time.
type answering struct {
	w           weighing
	found       *verdicts
	size        int64
	now         time.Time
	polls, sits time.Duration
	settled     time.Duration // how long the reader has not polled
	sat, tried  time.Duration // altogether
	able        bool
}

func answersIn(polls, sits time.Duration) *answering {
	return &answering{found: new(verdicts), polls: polls, sits: sits, now: time.Unix(1e9, 0), able: true}
}

// run makes answers follow one another for d.
func (a *answering) run(d time.Duration) {
	for end := a.now.Add(d); a.now.Before(end); {
		took := a.polls
		if a.w.sits {
			if took = a.sits; a.settled < weighSettle {
				took = 2 * a.polls // the kernel has not settled yet
			}
			a.settled += took
			a.sat += took
		} else {
			a.settled = 0
		}
		if a.w.trial {
			a.tried += took
		}
		a.now = a.now.Add(took)
		a.w.answered(a.size)
		a.w.waited(a.now, a.able, a.found)
	}
}

const (
	us    = time.Microsecond
	trial = weighSettle + weighWindow
)

// Which readers sit, after a second and a trial, and which poll.
func TestWeighing(t *testing.T) {
	for _, tt := range []struct {
		name        string
		polls, sits time.Duration
		want        bool
	}{
		{"half of the time", 20 * us, 10 * us, true},
		{"a part of it less", 20 * us, 17 * us, true},
		{"too small a part", 20 * us, 19 * us, false},
		{"the same", 20 * us, 20 * us, false},
		{"more", 20 * us, 40 * us, false},
		{"large answers", 800 * us, 600 * us, true},
		{"what is no conversation", 2 * weighGap, weighGap / 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := answersIn(tt.polls, tt.sits)
			a.run(weighWindow - time.Millisecond)
			require.False(t, a.w.sits)
			a.run(time.Second)
			require.False(t, a.w.trial)
			require.Equal(t, tt.want, a.w.sits)
			if !tt.want && tt.polls < weighGap {
				require.InDelta(t, trial, a.sat, float64(2*weighGap))
			}
		})
	}
}

// Without polling there is nothing to choose between.
func TestWeighingNeedsPolling(t *testing.T) {
	a := answersIn(400*us, 200*us)
	a.able = false
	a.run(2 * weighMaxPause)
	require.Zero(t, a.sat)
	a.able = true
	a.run(time.Second)
	require.True(t, a.w.sits)
}

// Trials in vain are repeated ever more seldom.
func TestWeighingInVain(t *testing.T) {
	a := answersIn(400*us, 400*us)
	until := func(tried bool) time.Duration {
		begun := a.now
		for a.w.trial != tried {
			a.run(time.Millisecond)
		}
		return a.now.Sub(begun)
	}
	until(true)
	for pause := weighPause; pause < 10*weighMaxPause; pause *= 4 {
		require.InDelta(t, trial, until(false), float64(2*weighGap))
		require.InDelta(t, min(pause, weighMaxPause), until(true), float64(weighWindow+2*weighGap))
	}
}

// What has proved better is compared again soon: it may have been by chance.
func TestWeighingConfirms(t *testing.T) {
	a := answersIn(400*us, 300*us)
	for !a.w.sits || a.w.trial {
		a.run(time.Millisecond)
	}
	a.sits = 500 * us
	a.run(weighConfirm + 2*trial)
	require.False(t, a.w.sits)
}

// A reader that sits polls now and then, to see whether that is better, and goes on polling if it is; then the other way round.
func TestWeighingGoesBack(t *testing.T) {
	a := answersIn(400*us, 200*us)
	a.run(time.Second)
	require.True(t, a.w.sits)
	begun, before := a.now, a.sat
	a.run(10 * weighMaxPause)
	require.True(t, a.w.sits)
	require.Less(t, a.now.Sub(begun)-(a.sat-before), 20*trial, "it polls too often")
	a.sits = 500 * us // which is hardly a change
	a.polls = 460 * us
	a.run(weighMaxPause + time.Second)
	require.False(t, a.w.sits)
	a.sits = 360 * us
	a.run(weighMaxPause + time.Second)
	require.True(t, a.w.sits)
}

// The result for messages of one size says nothing about other sizes, which have trials of their own; if sizes alternate, trials are few.
func TestWeighingBySize(t *testing.T) {
	a := answersIn(20*us, 20*us)
	a.run(2 * weighMaxPause)
	a.polls, a.sits, a.size = 100*us, 50*us, 128<<10
	a.run(2*weighWindow + trial + 5*time.Millisecond)
	require.True(t, a.w.sits)
	a.polls, a.sits, a.size = 20*us, 20*us, 0
	a.run(weighWindow + weighSettle)
	require.False(t, a.w.sits)

	a = answersIn(20*us, 20*us)
	begun := a.now
	for range 200 {
		for _, size := range []int64{0, 128 << 10} {
			a.size = size
			a.run(weighWindow)
		}
	}
	require.Less(t, float64(a.tried), 0.25*float64(a.now.Sub(begun)))
}

// A trial in the middle of which messages become larger tells nothing.
func TestWeighingCutShort(t *testing.T) {
	a := answersIn(400*us, 400*us)
	for !a.w.trial {
		a.run(time.Millisecond)
	}
	a.polls, a.sits, a.size = 100*us, 100*us, 1<<20
	a.able = false
	a.run(trial)
	require.False(t, a.w.trial)
	require.False(t, a.w.sits)
	require.Zero(t, a.found.of[0].pause)
}

// The other readers of a transport follow the result of one reader's trial, and make no trial meanwhile.
func TestWeighingIsShared(t *testing.T) {
	one := answersIn(20*us, 10*us)
	one.run(weighWindow + trial + 5*time.Millisecond)
	require.True(t, one.w.sits)
	other := answersIn(20*us, 10*us)
	other.found, other.now = one.found, one.now
	other.run(weighWindow + time.Millisecond)
	require.True(t, other.w.sits)
	require.False(t, other.w.trial)

	one = answersIn(20*us, 20*us)
	for !one.w.trial {
		one.run(time.Millisecond)
	}
	other = answersIn(20*us, 20*us)
	other.found, other.now = one.found, one.now
	other.run(4 * weighWindow)
	require.Zero(t, other.sat)
	one.run(trial + time.Millisecond)
	other.now = one.now
	other.run(4 * weighWindow)
	require.Zero(t, other.sat)
}

// The size of question and answer together.
func TestScale(t *testing.T) {
	for _, tt := range []struct {
		bytes int64
		want  int
	}{{2 * 16, 0}, {2 << 10, 0}, {3 << 10, 1}, {2 * 4 << 10, 1}, {24 << 10, 2}, {2 * 64 << 10, 2}, {192 << 10, 3}, {1 << 40, 3}} {
		require.Equal(t, tt.want, replies{count: 1, bytes: tt.bytes}.scale(), tt.bytes)
		require.Equal(t, tt.want, replies{count: 7, bytes: 7 * tt.bytes}.scale(), tt.bytes)
	}
}

// Time in which nothing was asked does not count; answers that came while the reader did not wait do.
func TestWeighingCounts(t *testing.T) {
	var w weighing
	now := time.Unix(1e9, 0)
	wait := func(d time.Duration, answers int) {
		for range answers {
			w.answered(10)
		}
		now = now.Add(d)
		w.waited(now, true, new(verdicts))
	}
	wait(0, 1)
	wait(weighGap, 5)
	require.Equal(t, weighGap, w.took)
	require.Equal(t, 5, w.came.count)
	wait(weighGap+1, 1000)
	require.Equal(t, weighGap, w.took)
	require.Equal(t, 5, w.came.count)
	for range weighWindow/weighGap - 1 {
		wait(weighGap, 5)
	}
	require.True(t, w.trial)
	require.Equal(t, weighGap/5, w.usual)
}
