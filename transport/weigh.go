package transport

import (
	"math/bits"
	"sync"
	"time"
)

// A weighing finds out whether answers come sooner to a reader that sits (see seat) than to one that polls.
//
// Mostly they come later: a thread that sleeps has to be woken. But the kernel may wake it on the very processor that the answer was made
// on. Then nothing has to go from one processor to the other: neither the bytes nor the call to wake up, which costs a virtual machine
// most. Kernels come to that by themselves within a tenth of a second, as long as nobody polls. So a trial shows which is better: the
// reader goes on to sit if answers then come sooner than before, by a good part, and later polls again if that proves better. The readers
// of one transport share the result of a trial, separately for each size of messages: the result depends on the machine, and a trial in
// vain delays answers.
//
// Here and in the constants below, only time counts in which one answer follows the other (see weighGap).
type weighing struct {
	sits  bool // the reader sits rather than polls
	trial bool // the reader tries what the others do not do

	last  time.Time     // when the last answer came that was waited for
	fresh replies       // since then
	skip  time.Duration // still to pass before answers are measured
	took  time.Duration // length of the measurement so far
	came  replies       // during the measurement

	usual time.Duration // what an answer took before the trial
	scale int           // size class of the messages of the trial, see scales
}

// replies counts answers that have come.
type replies struct {
	count int
	bytes int64 // of the first read of each answer, and of what was written before it
}

const (
	weighGap    = time.Millisecond // answers further apart do not follow one another
	weighSettle = 75 * time.Millisecond
	weighWindow = 50 * time.Millisecond

	weighSits  = 0.9  // sitting must take at most this part of the time that an answer took before the trial
	weighPolls = 0.95 // the same for polling
)

// answered is called after an answer has come; see replies for bytes.
func (w *weighing) answered(bytes int64) {
	w.fresh.count++
	w.fresh.bytes += bytes
}

// waited is called after a wait for an answer; able says that the reader may both sit and poll.
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

// judge is called after a measurement: it tells v the result of a trial, and asks v what the reader is to do next.
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

// gains reports whether what is tried is better by enough.
func (w *weighing) gains(each time.Duration) bool {
	much := weighPolls
	if w.sits {
		much = weighSits
	}
	return float64(each) <= much*float64(w.usual)
}

// scales is the number of size classes, by the bytes of question and answer together: up to 3 KB, 24 KB, 192 KB, and more.
const scales = 4

func (r replies) scale() int {
	return min((bits.Len64(uint64(r.bytes/int64(r.count)/(3<<10)))+2)/3, scales-1)
}

const (
	weighConfirm  = time.Second     // until what has proved better is compared again, at least
	weighPause    = 5 * time.Second // between other trials, at least: one in vain costs a tenth of a second of slow answers
	weighMaxPause = time.Minute
)

// verdicts are the results of the trials of one Transport's readers. The zero value says that readers do not sit, and that a trial is due.
type verdicts struct {
	mu sync.Mutex
	of [scales]verdict
}

type verdict struct {
	sits  bool
	next  time.Time     // no trial before this time
	pause time.Duration // between two trials: longer after each in vain
}

// ask tells a reader whether to sit, and whether that is a trial, which this reader makes for all of them.
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

// tried records the result of a trial.
func (v *verdicts) tried(scale int, sits, gains bool, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := &v.of[scale]
	if gains {
		d.sits, d.pause = sits, d.pause/2
	} else {
		d.pause = min(max(4*d.pause, weighPause), weighMaxPause)
	}
	d.next = now.Add(max(d.pause, weighConfirm))
}
