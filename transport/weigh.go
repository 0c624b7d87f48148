package transport

import "time"

// A weighing finds out whether answers come sooner to a reader that sits (see seat) than to one that polls.
//
// Mostly they come later: a thread that sleeps has to be woken. But the kernel may wake it on the very processor that the answer was made
// on. Then nothing has to go from one processor to the other, neither the bytes nor, which costs a virtual machine most, the call to wake
// up. Kernels come to that by themselves, within a tenth of a second, where nobody polls. So it shows in a trial: the reader goes on to sit
// while answers come sooner than before, by a good part; and to poll again when that is better.
//
// Time counts, here and in the constants below, in which one answer follows the other.
type weighing struct {
	sits  bool // rather than polling
	trial bool // of what was not so before

	last    time.Time     // when an answer came that was waited for
	fresh   int           // answers since then
	skip    time.Duration // before answers are measured
	took    time.Duration // by what is measured
	answers int

	usual time.Duration // what an answer took before the trial, or after the last one; 0: there has been none
	since time.Duration // the last trial
	pause time.Duration // between two trials in vain
}

const (
	weighGap    = time.Millisecond // after a longer time an answer does not follow the other
	weighSettle = 75 * time.Millisecond
	weighWindow = 50 * time.Millisecond

	weighSits   = 0.9 // so much of the time an answer is to take at most
	weighPolls  = 0.95
	weighChange = 1.5 // and when it takes so much more or less, something else is talked about

	weighRest     = 500 * time.Millisecond // between two trials, at least
	weighPause    = time.Second
	weighMaxPause = time.Minute
)

// answered follows an answer.
func (w *weighing) answered() { w.fresh++ }

// waited follows a wait for an answer; able says that there is something to choose between.
func (w *weighing) waited(now time.Time, able bool) {
	d, n := now.Sub(w.last), w.fresh
	w.last, w.fresh = now, 0
	switch {
	case d > weighGap:
	case w.skip > 0:
		w.skip -= d
	default:
		w.took, w.answers = w.took+d, w.answers+n
		if w.took >= weighWindow && w.answers > 0 {
			w.judge(able)
		}
	}
}

// judge follows a measurement.
func (w *weighing) judge(able bool) {
	each := w.took / time.Duration(w.answers)
	w.since += w.took
	w.took, w.answers = 0, 0
	switch {
	case w.trial && w.gains(each):
		w.usual, w.pause = each, 0
		w.trial, w.since = false, 0
	case w.trial:
		w.sits, w.skip = !w.sits, weighSettle
		w.pause = min(max(2*w.pause, weighPause), weighMaxPause)
		w.trial, w.since = false, 0
	case able && w.due(each):
		w.trial, w.usual = true, each
		w.sits, w.skip = !w.sits, weighSettle
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

// due tells whether there is to be a trial: the first one, one after a while, or because what is talked about has changed.
func (w *weighing) due(each time.Duration) bool {
	if w.usual == 0 || w.since >= max(w.pause, weighPause) {
		return true
	}
	change := float64(each) / float64(w.usual)
	return w.since >= weighRest && (change >= weighChange || change <= 1/weighChange)
}
