package inbox

import "time"

// HoldLimit is for how long of the last HoldWindow full inboxes may keep the reader of a connection
// waiting, however often it went on in between.
const (
	HoldLimit  = Patience
	HoldWindow = 10 * time.Second

	holdSlots = 20
	holdSlot  = HoldWindow / holdSlots
)

// Holds sums up for how long full inboxes have kept a connection's reader waiting within the last
// HoldWindow. The window ends now and begins at the start of a slot, so up to one slot more counts.
// The promise is about any such window, not about windows one after the other, and the waits in one
// may be very many: so there are slots.
// It belongs to the reader. The zero value is that of a reader that has not waited.
type Holds struct {
	origin time.Time // of the slots' numbers
	newest int       // the number of the newest slot
	slots  [holdSlots]time.Duration
}

// left is for how long the reader may still wait from now on.
func (h *Holds) left(now time.Time) time.Duration {
	h.advance(now)
	left := HoldLimit
	for _, d := range h.slots {
		left -= d
	}
	return max(left, 0)
}

// add notes that the reader has waited.
func (h *Holds) add(from, to time.Time) {
	for from.Before(to) {
		h.advance(from)
		end := h.origin.Add(time.Duration(h.newest+1) * holdSlot)
		if end.After(to) {
			end = to
		}
		h.slots[h.newest%holdSlots] += end.Sub(from)
		from = end
	}
}

// advance forgets what is out of the window.
func (h *Holds) advance(now time.Time) {
	if h.origin.IsZero() {
		h.origin = now
	}
	n := int(now.Sub(h.origin) / holdSlot)
	if n-h.newest >= holdSlots {
		h.newest, h.slots = n, [holdSlots]time.Duration{}
	}
	for h.newest < n {
		h.newest++
		h.slots[h.newest%holdSlots] = 0
	}
}
