package transport

import (
	"math/bits"
	"sync"
	"time"
)

// A weighing finds out whether answers come sooner to a reader that sits (see seat) than to one that polls.
//
// Mostly they come later: a thread that sleeps has to be woken. But the kernel may wake it on the very processor that the answer was made
// on. Then nothing has to go from one processor to the other, neither the bytes nor, which costs a virtual machine most, the call to wake
// up. Kernels come to that by themselves, within a tenth of a second, where nobody polls. So it shows in a trial: the reader goes on to sit
// while answers come sooner than before, by a good part; and to poll again when that is better. The readers of one transport share what
// comes of a trial, each size of messages for itself: it is the machine's way, and a trial in vain makes answers late.
//
// Time counts, here and in the constants below, in which one answer follows the other.
type weighing struct {
	sits  bool // rather than polling
	trial bool // of what the others do not do

	last  time.Time     // when an answer came that was waited for
	fresh replies       // since then
	skip  time.Duration // before answers are measured
	took  time.Duration // by what is measured
	came  replies       // meanwhile

	usual time.Duration // what an answer took before the trial
	scale int           // of what is said in the trial
}

// replies are answers that have come.
type replies struct {
	count int
	bytes int64 // of these, as far as each came in one read, and of what was written before
}

const (
	weighGap    = time.Millisecond // after a longer time an answer does not follow the other
	weighSettle = 75 * time.Millisecond
	weighWindow = 50 * time.Millisecond

	weighSits  = 0.9 // so much of the time an answer is to take at most
	weighPolls = 0.95
)

// answered follows an answer.
func (w *weighing) answered(bytes int64) {
	w.fresh.count++
	w.fresh.bytes += bytes
}

// waited follows a wait for an answer; able says that there is something to choose between.
func (w *weighing) waited(now time.Time, able bool, v *verdicts) {
	d, fresh := now.Sub(w.last), w.fresh
	w.last, w.fresh = now, replies{}
	switch {
	case d > weighGap:
	case w.skip > 0:
		w.skip -= d
	default:
		w.took += d
		w.came.count += fresh.count
		w.came.bytes += fresh.bytes
		if w.took >= weighWindow && w.came.count > 0 {
			w.judge(now, able, v)
		}
	}
}

// judge follows a measurement.
func (w *weighing) judge(now time.Time, able bool, v *verdicts) {
	each, scale := w.took/time.Duration(w.came.count), w.came.scale()
	w.took, w.came = 0, replies{}
	if w.trial && scale == w.scale {
		v.tried(scale, w.sits, w.gains(each), now)
	}
	var sits bool
	sits, w.trial = v.ask(scale, able, now)
	if w.trial {
		w.usual, w.scale = each, scale
	}
	if sits != w.sits {
		w.sits, w.skip = sits, weighSettle
	}
}

// gains tells whether what is tried is so much better.
func (w *weighing) gains(each time.Duration) bool {
	much := weighPolls
	if w.sits {
		much = weighSits
	}
	return float64(each) <= much*float64(w.usual)
}

// scales are those of question and answer together: up to 3 KB, 24 KB, 192 KB, and more.
const scales = 4

func (r replies) scale() int {
	return min((bits.Len64(uint64(r.bytes/int64(r.count)/(3<<10)))+2)/3, scales-1)
}

const (
	weighPause    = time.Second // between two trials, at least
	weighMaxPause = time.Minute
)

// verdicts are what the trials of one Transport's readers have come to. The zero value says that nobody sits, and that a trial is due.
type verdicts struct {
	mu sync.Mutex
	of [scales]verdict
}

type verdict struct {
	sits  bool
	next  time.Time     // no trial before
	pause time.Duration // between two: longer after each in vain
}

// ask tells a reader whether to sit, and whether that is a trial, which is the reader's alone then.
func (v *verdicts) ask(scale int, able bool, now time.Time) (sits, trial bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := &v.of[scale]
	if !able || now.Before(d.next) {
		return d.sits, false
	}
	d.next = now.Add(max(d.pause, weighPause))
	return !d.sits, true
}

// tried ends a trial.
func (v *verdicts) tried(scale int, sits, gains bool, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := &v.of[scale]
	if gains {
		d.sits, d.pause = sits, d.pause/2
	} else {
		d.pause = min(max(2*d.pause, weighPause), weighMaxPause)
	}
	d.next = now.Add(max(d.pause, weighPause))
}
