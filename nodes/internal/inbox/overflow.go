package inbox

import "time"

// What happens at the limit to what does not wait: the messages of peers, whose connections are
// read on, and those of functions that run. They go into the inbox all the same, and count in the
// node's memory for that, of which each peer has its share. Where that is used up, the sender waits
// after all, for room in the inbox or in its share; and when it has waited in vain for a while
// (Late), some process ends for it: nobody receives from it, or the receiver waits for what cannot
// come.

const (
	// Patience is how long a sender that does not wait waits once its peer has had its share.
	Patience = 2 * time.Second
	// quiet is for how long nobody is told again that an inbox is over its limit.
	quiet = time.Minute
)

// A Full says what a process does when its limit is reached.
type Full int

const (
	Blocks Full = iota // whoever waits waits, and the rest overflows
	Ends               // it ends
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
	bytes, overflows := q.bytes, q.overflow.count > 0
	if e.Ahead {
		bytes, overflows = q.aheadBytes, false
	}
	fits := bytes == 0 || bytes+e.Cost <= q.limit
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

// Overflow is for a message that is Over. isLast says that nothing more is read of the connection
// that it came over, until change: what was read already is kept. TooMuch: the process ends; Over:
// the sender is to wait (Wait), and try again; else Push the message.
func (q *Inbox[M]) Overflow(e *Entry[M], w *Wait, isLast bool, change <-chan struct{}) Verdict {
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
	case isLast:
		q.force(e)
	default:
		if w.given = q.memory.Take(q.payer(e.Message), e.Cost); w.given != nil {
			w.room, w.change = q.room.Next(), change
			if w.patience == nil {
				w.patience = time.NewTimer(Patience)
			}
			return q.tooMuch()
		}
		e.overflows = true
	}
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

// DropOverflow drops what overflows, and says how many messages that were.
func (q *Inbox[M]) DropOverflow() (dropped int) {
	dropped = q.overflow.count
	keep := q.ahead[:0]
	for _, e := range q.ahead {
		if !e.overflows {
			keep = append(keep, e)
			continue
		}
		dropped++
		q.aheadBytes -= e.Cost
		q.giveBack(&e)
	}
	clear(q.ahead[len(keep):])
	q.ahead = keep
	kept := len(q.queue) - q.overflow.count
	q.bytes -= q.overflow.bytes
	q.RestoreAll()
	clear(q.queue[kept:])
	q.queue = q.queue[:kept]
	return dropped
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
	// the overflow after which it is the sender's turn: see overflow.restored; 0: none
	turn                int
	patience            *time.Timer // nil: the sender waits as long as it likes
	room, given, change <-chan struct{}
}

// An Outcome is why a wait is over.
type Outcome int

const (
	Again     Outcome = iota // there may be room
	Cancelled                // the process has ended, or the sender has given up
	Late                     // the sender has no more patience
)

// For waits until there may be room, until one of the channels is closed, or the sender's patience
// is at an end; then it begins anew.
func (w *Wait) For(ended, cancel <-chan struct{}) Outcome {
	var late <-chan time.Time
	if w.patience != nil {
		late = w.patience.C
	}
	select {
	case <-w.room:
	case <-w.given:
	case <-w.change:
	case <-ended:
		return Cancelled
	case <-cancel:
		return Cancelled
	case <-late:
		w.patience.Reset(Patience)
		return Late
	}
	return Again
}

// End releases what the wait has used.
func (w *Wait) End() {
	if w.patience != nil {
		w.patience.Stop()
	}
}
