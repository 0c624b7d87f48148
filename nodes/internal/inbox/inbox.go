package inbox

import (
	"iter"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// keepQueue is the longest queue, in messages, whose memory an inbox keeps once it is empty.
const keepQueue = 4096

// An Entry is a message in an inbox.
type Entry[M any] struct {
	Message M
	Cost    int  // bytes of memory
	Ahead   bool // it is received before those without priority
	Waits   bool // its sender waits for room: a goroutine of the program on this node

	overflows bool // there is no room for it: it is counted in the node's memory for that
}

// Overflows tells whether there was no room for the message.
func (e *Entry[M]) Overflows() bool { return e.overflows }

// An Inbox is the queue of a process.
type Inbox[M any] struct {
	memory *places.Memory   // for what overflows
	payer  func(m M) string // see Init
	limit  int              // bytes that unread messages may take
	full   Full
	paid   bool // peers pay for all that is unread: see Init

	queue []Entry[M]
	taken uint64 // messages that were received, ever
	base  uint64 // what taken was when the first element of queue was the oldest unread message
	bytes int

	ahead      []Entry[M]
	aheadBytes int

	overflow overflow
	deaf     bool // nobody will ever receive

	ready chan struct{} // see Comes; nil: nobody has waited yet
	room  wait.Bell     // rings when messages leave

	only func(m M) bool // what is taken, and nothing else: see Only; nil: everything
	// of what is not: so many messages, those ahead and those in the queue
	aheadPassed, passed int
}

// Init makes an Inbox ready. payer is the peer in whose name a message takes memory; "": a process
// of this node. paid says that peers pay for all that is unread, whether there is room or not: it
// is for the process of a function, of which a peer may spawn any number.
func (q *Inbox[M]) Init(memory *places.Memory, payer func(m M) string, limit int, full Full, paid bool) {
	q.memory, q.payer, q.limit, q.full, q.paid = memory, payer, limit, full, paid
}

// Limit is what Init or SetLimit has set.
func (q *Inbox[M]) Limit() (bytes int, full Full) { return q.limit, q.full }

// SetLimit changes the limit.
func (q *Inbox[M]) SetLimit(bytes int, full Full) {
	q.limit, q.full = bytes, full
	q.recount()
	q.room.Ring()
}

// Comes holds a token while there is something to take, or there may be.
func (q *Inbox[M]) Comes() <-chan struct{} {
	if q.ready == nil {
		q.ready = make(chan struct{}, 1)
		q.Wake()
	}
	return q.ready
}

// Wake leaves a token for a receiver, if there has been one.
func (q *Inbox[M]) Wake() {
	select {
	case q.ready <- struct{}{}:
	default: // it has one, or there is none
	}
}

// RingRoom wakes those that wait for room, to look again.
func (q *Inbox[M]) RingRoom() { q.room.Ring() }

// RoomAwaited tells whether somebody waits for room.
func (q *Inbox[M]) RoomAwaited() bool { return q.room.Awaited() }

// Only lets receivers take the messages for which is is true, and no others; nil: all again.
func (q *Inbox[M]) Only(is func(m M) bool) {
	q.only, q.aheadPassed, q.passed = is, 0, 0
	q.Wake()
}

// IsPartly tells whether Only holds messages back.
func (q *Inbox[M]) IsPartly() bool { return q.only != nil }

// Len is how many messages are unread, Bytes what they take, and Taken how many were taken, ever.
func (q *Inbox[M]) Len() int      { return len(q.unread()) + len(q.ahead) }
func (q *Inbox[M]) Bytes() int    { return q.bytes + q.aheadBytes }
func (q *Inbox[M]) Taken() uint64 { return q.taken }

// unread is the queue without what was taken.
func (q *Inbox[M]) unread() []Entry[M] { return q.queue[q.first():] }

// first is the index in queue of the oldest unread message.
func (q *Inbox[M]) first() int { return int(q.taken - q.base) }

// Entries are those of the messages that nobody has taken, the next first.
func (q *Inbox[M]) Entries() iter.Seq[*Entry[M]] {
	return func(yield func(*Entry[M]) bool) {
		for _, list := range [][]Entry[M]{q.ahead, q.unread()} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// Unread are the messages of Entries.
func (q *Inbox[M]) Unread() iter.Seq[M] {
	return func(yield func(M) bool) {
		for e := range q.Entries() {
			if !yield(e.Message) {
				return
			}
		}
	}
}

// First is the message that Take would take if there is no Only; false: there is none.
func (q *Inbox[M]) First() (m M, ok bool) {
	for m := range q.Unread() {
		return m, true
	}
	return m, false
}

// Reserve makes room for so many messages at once.
func (q *Inbox[M]) Reserve(count int) { q.queue = slices.Grow(q.queue, count) }

// Push gives the inbox a message, whatever its limit.
func (q *Inbox[M]) Push(e Entry[M]) {
	if e.Ahead {
		q.ahead = append(q.ahead, e)
		q.aheadBytes += e.Cost
	} else {
		q.enqueue(e)
	}
	q.Wake()
}

func (q *Inbox[M]) enqueue(e Entry[M]) {
	// keep a queue that never becomes empty from growing
	if first := q.first(); first > 64 && first > len(q.queue)/2 {
		n := copy(q.queue, q.queue[first:])
		clear(q.queue[n:])
		q.queue, q.base = q.queue[:n], q.taken
	}
	if q.overflow.count > 0 && !e.overflows { // what overflows is the end of the queue
		q.force(&e)
	}
	q.queue = append(q.queue, e)
	q.bytes += e.Cost
	if e.overflows {
		q.overflow.count++
		q.overflow.bytes += e.Cost
	}
}

// Has tells whether there is something to take.
func (q *Inbox[M]) Has() bool {
	if q.only != nil {
		return q.find()
	}
	return q.HasUnread()
}

// HasUnread tells whether something is unread, to be taken or not.
func (q *Inbox[M]) HasUnread() bool { return q.first() < len(q.queue) || len(q.ahead) > 0 }

// find looks for a message that may be taken while Only is in force.
func (q *Inbox[M]) find() bool {
	pass := func(list []Entry[M], from *int) bool {
		for *from < len(list) && !q.only(list[*from].Message) {
			*from++
		}
		return *from < len(list)
	}
	return pass(q.ahead, &q.aheadPassed) || pass(q.unread(), &q.passed)
}

// Take takes the next message; false: there is none.
func (q *Inbox[M]) Take() (m M, ok bool) {
	if !q.Has() {
		return m, false
	}
	if q.only != nil {
		q.toFront()
		if q.aheadPassed < len(q.ahead) {
			return q.takeAhead(), true
		}
		return q.takeQueued(), true
	}
	if len(q.ahead) > 0 {
		return q.takeAhead(), true
	}
	return q.takeQueued(), true
}

// toFront makes the message that find has found the first.
func (q *Inbox[M]) toFront() {
	list, i := q.unread(), q.passed
	if q.aheadPassed < len(q.ahead) {
		list, i = q.ahead, q.aheadPassed
	}
	e := list[i]
	copy(list[1:i+1], list[:i])
	list[0] = e
}

// takeQueued takes the oldest message of the queue.
func (q *Inbox[M]) takeQueued() M {
	i := q.first()
	e := q.queue[i]
	q.queue[i] = Entry[M]{}
	q.taken++
	q.bytes -= e.Cost
	if e.overflows {
		q.restore(&e)
	}
	q.recount()
	if i+1 == len(q.queue) {
		q.queue, q.base = q.queue[:0], q.taken
		if cap(q.queue) > keepQueue {
			q.queue = nil
		}
	} else {
		q.Wake()
	}
	if q.bytes < q.limit {
		q.room.Ring()
	}
	return e.Message
}

// takeAhead takes the oldest message with priority.
func (q *Inbox[M]) takeAhead() M {
	e := q.ahead[0]
	q.ahead[0], q.ahead = Entry[M]{}, q.ahead[1:]
	q.aheadBytes -= e.Cost
	q.taken, q.base = q.taken+1, q.base+1
	if e.overflows {
		q.giveBack(&e)
	}
	if q.HasUnread() {
		q.Wake()
	}
	q.room.Ring()
	return e.Message
}

// Clear drops the messages.
func (q *Inbox[M]) Clear() {
	q.RestoreAll()
	q.queue, q.base, q.bytes, q.ahead, q.aheadBytes = nil, q.taken, 0, nil, 0
}

// Deafen drops what is unread, and says how many messages that were. Nobody will receive any more.
func (q *Inbox[M]) Deafen() (dropped int) {
	dropped = q.Len()
	q.Clear()
	q.deaf = true
	return dropped
}

// IsDeaf tells whether nobody will receive.
func (q *Inbox[M]) IsDeaf() bool { return q.deaf }

// MoveTo gives the messages to another inbox, before its own.
func (q *Inbox[M]) MoveTo(to *Inbox[M]) {
	q.RestoreAll()
	to.queue, to.base, to.bytes = slices.Concat(q.unread(), to.unread()), to.taken, q.bytes+to.bytes
	to.ahead, to.aheadBytes = slices.Concat(q.ahead, to.ahead), q.aheadBytes+to.aheadBytes
	q.Clear()
}
