package inbox

import "time"

// What happens at the limit to what does not wait: the messages of peers, whose connections are
// read on, and those of functions that run. They go into the inbox all the same, and count in the
// node's memory for that, of which each peer has its share. Where that is used up, the sender waits
// after all, for room in the inbox or in its share; and when it has waited in vain for a while
// (Late), or the connection's reader too long in all (Held), some process ends for it: nobody
// receives from it, or the receiver waits for what cannot come, or is too slow.

const (
	// Patience is how long a sender that does not wait waits once its peer has had its share.
	Patience = 2 * time.Second
	// quiet is for how long nobody is told again that an inbox is over its limit.
	quiet = time.Minute
)

// A Full says what a process does when its limit is reached.
type Full int

const (
	Blocks Full = iota // whoever waits waits, and the rest overflows; it does not hold a connection
	Ends               // it ends
	Waits              // as Blocks, but it may hold a connection as long as it receives
)

// An overflow is the end of the queue, as far as it is counted in the node's memory.
type overflow struct {
	count, bytes int       // messages, and their memory
	restored     int       // messages, ever, that overflowed and for which there is room by now
	told         time.Time // when somebody was last told of it
}

// A Verdict says whether a message may be put into an inbox now.
type Verdict int

const (
	Fits    Verdict = iota // Push it
	TooMuch                // the process ends
	Over                   // there is no room: see Overflow
)

// Judge tells whether a message may come in. What goes ahead has a room of its own.
func (q *Inbox[M]) Judge(e *Entry[M]) Verdict {
	fits, overflows := q.hasRoom(e), q.overflow.count > 0 && !e.Ahead
	switch {
	case !q.paid && fits && !overflows:
		return Fits
	case q.paid && fits && e.Waits:
		q.force(e)
		return Fits
	case q.full == Ends && !(q.paid && fits):
		return TooMuch
	}
	return Over
}

// hasRoom tells whether there is room for a message within the limit.
func (q *Inbox[M]) hasRoom(e *Entry[M]) bool {
	bytes := q.bytes
	if e.Ahead {
		bytes = q.aheadBytes
	}
	return bytes == 0 || bytes+e.Cost <= q.limit
}

// A Reader is that of the connection that a message has come over; the zero value stands for one
// that has come over none.
type Reader struct {
	Stops  bool            // nothing more is read, until Change: what was read already is kept
	Change <-chan struct{} // is closed when Stops changes
	Holds  *Holds
}

// Overflow is for a message that is Over. TooMuch: the process ends; Over: the sender is to wait
// (Wait), and try again; else Push the message.
func (q *Inbox[M]) Overflow(e *Entry[M], w *Wait, r Reader) Verdict {
	switch {
	case e.Waits:
		if w.turn == 0 {
			w.turn = q.overflow.restored + q.overflow.count + 1
		}
		// else a later message has found room: this one must not wait for all that comes
		if q.overflow.restored < w.turn {
			w.room = q.room.Next()
			return q.tooMuch()
		}
		q.force(e)
		return Fits
	case r.Stops:
		q.memory.Force(q.payer(e.Message), e.Cost)
	default:
		if w.given = q.memory.Take(q.payer(e.Message), e.Cost); w.given != nil {
			w.wait(q.room.Next(), &r, q.full == Waits)
			return q.tooMuch()
		}
	}
	e.overflows = true
	return Fits
}

func (q *Inbox[M]) tooMuch() Verdict {
	if q.full == Ends {
		return TooMuch
	}
	return Over
}

func (q *Inbox[M]) force(e *Entry[M]) {
	q.memory.Force(q.payer(e.Message), e.Cost)
	e.overflows = true
}

// recount counts, now that there may be more room, as much of the overflow as there is room for
// within the limit.
func (q *Inbox[M]) recount() {
	for q.overflow.count > 0 && !q.paid {
		next := &q.queue[len(q.queue)-q.overflow.count]
		if within := q.bytes - q.overflow.bytes; within > 0 && within+next.Cost > q.limit {
			return
		}
		q.restore(next)
	}
}

// restore counts the oldest message that overflows as one that does not.
func (q *Inbox[M]) restore(e *Entry[M]) {
	q.overflow.restored++
	q.overflow.count--
	q.overflow.bytes -= e.Cost
	q.giveBack(e)
}

// giveBack is restore for a message that goes ahead.
func (q *Inbox[M]) giveBack(e *Entry[M]) {
	e.overflows = false
	q.room.Ring()
	q.memory.Give(q.payer(e.Message), e.Cost)
}

// RestoreAll counts no overflow any more: the process has ended, or gives its queue away.
func (q *Inbox[M]) RestoreAll() {
	for q.overflow.count > 0 {
		q.restore(&q.queue[len(q.queue)-q.overflow.count])
	}
	for i := range q.ahead {
		if q.ahead[i].overflows {
			q.giveBack(&q.ahead[i])
		}
	}
}

// BeyondLimit tells whether what overflows is beyond the limit; where peers pay for all that is
// unread, it may be within.
func (q *Inbox[M]) BeyondLimit() bool { return !q.paid || q.bytes > q.limit }

// Tells tells whether somebody should be told that the inbox is over its limit, once in a while.
func (q *Inbox[M]) Tells() bool {
	if q.overflow.count == 0 || !q.BeyondLimit() || time.Since(q.overflow.told) <= quiet {
		return false
	}
	q.overflow.told = time.Now()
	return true
}

// OverflowOf is how many bytes of the overflow are a peer's.
func (q *Inbox[M]) OverflowOf(peer string) (bytes int) {
	for _, list := range [][]Entry[M]{q.queue[len(q.queue)-q.overflow.count:], q.ahead} {
		for i := range list {
			if e := &list[i]; e.overflows && q.payer(e.Message) == peer {
				bytes += e.Cost
			}
		}
	}
	return bytes
}

// A Wait is a sender's wait for room; the channels are nil for what it does not wait for.
type Wait struct {
	// the value of overflow.restored from which on it is the sender's turn; 0: it has none
	turn                int
	until               time.Time   // the end of the sender's patience
	holds               *Holds      // of the connection whose reader waits; nil: of none, or it may
	timer               *time.Timer // nil: the sender waits as long as it likes
	room, given, change <-chan struct{}
}

// wait prepares For, for a sender that does not wait as long as it likes.
func (w *Wait) wait(room <-chan struct{}, r *Reader, mayHold bool) {
	w.room, w.change, w.holds = room, r.Change, r.Holds
	if mayHold {
		w.holds = nil
	}
	if w.timer == nil {
		w.until = time.Now().Add(Patience)
		w.timer = time.NewTimer(Patience)
	}
}

// An Outcome is why a wait is over.
type Outcome int

const (
	Again     Outcome = iota // there may be room
	Cancelled                // the process has ended, or the sender has given up
	Late                     // the sender has no more patience
	Held                     // inboxes that must not have held the connection for too long
)

// For waits until there may be room, until one of the channels is closed, or the sender's patience
// is at an end, or the connection's; then it begins anew.
func (w *Wait) For(ended, cancel <-chan struct{}) Outcome {
	begun := time.Now()
	var late <-chan time.Time
	if w.timer != nil {
		left := w.until.Sub(begun)
		if w.holds != nil {
			left = min(left, w.holds.left(begun))
		}
		w.timer.Reset(left)
		late = w.timer.C
	}
	outcome := Again
	select {
	case <-w.room:
	case <-w.given:
	case <-w.change:
	case <-ended:
		outcome = Cancelled
	case <-cancel:
		outcome = Cancelled
	case <-late:
		outcome = Late
	}
	now := time.Now()
	if w.holds != nil {
		w.holds.add(begun, now)
	}
	switch {
	case outcome != Late:
	case w.holds != nil && w.holds.left(now) == 0:
		*w.holds = Holds{}
		outcome = Held
	case now.Before(w.until): // some of what the connection was held for is past the window by now
		outcome = Again
	default:
		w.until = now.Add(Patience)
	}
	return outcome
}

// End releases what the wait has used.
func (w *Wait) End() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
