package nodes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/life"
)

// What happens at a mailbox's limit to what does not wait: the messages of peers, whose connections
// are read on, and those of functions that run. They go into the mailbox all the same, and count
// towards Config.OverflowLimit, each peer's share of it. Where that is used up, the sender waits
// after all, for room in the mailbox or in its share; and when it has waited in vain for a while,
// the mailbox with the most of its overflow ends, with reason mailbox_full: nobody receives from
// it, or the receiver waits for what cannot come.

const (
	// overflowWait is how long a peer is not read once it has had its share of
	// Config.OverflowLimit, before a mailbox ends for it.
	overflowWait = 2 * time.Second
	// overflowQuiet is for how long the log says nothing more of a mailbox that is over its limit.
	overflowQuiet = time.Minute
)

// An overflow is the end of a mailbox's queue, as far as it is counted in Node.overflow.
type overflow struct {
	count, bytes int       // messages, and their memory
	restored     int       // messages, ever, that overflowed and for which there is room by now
	told         time.Time // when the log was last told of it
}

// takes tells whether a message may be put into the mailbox now. If so, it is counted in
// Node.overflow if there is no room for it; else w says for what to wait. What goes ahead has a
// room of its own. In a function's process everything is counted: a peer may spawn any number of
// them. b.mu is held.
func (b *Mailbox) takes(m *Message, w *roomWait) bool {
	bytes, overflows := b.bytes, b.overflow.count > 0
	if m.goesAhead() {
		bytes, overflows = b.ahead.bytes, false
	}
	fits := bytes == 0 || bytes+cost(m) <= b.opts.Limit
	switch {
	case b.spawned == nil && fits && !overflows:
		return true
	case b.spawned != nil && fits && m.waits():
		b.n.overflow.Force(m.payer(), cost(m))
		m.overflows = true
		return true
	case b.opts.Full == FullExit && !(b.spawned != nil && fits):
		return false
	}
	stops, change := m.conn.stopState()
	switch {
	case m.waits():
		if w.turn == 0 {
			w.turn = b.overflow.restored + b.overflow.count + 1
		}
		// else a later message has found room: this one must not wait for all that comes
		if b.overflow.restored < w.turn {
			w.room = b.room.Next()
			return false
		}
		b.n.overflow.Force(m.payer(), cost(m))
	case stops: // its connection is not read on: what was read already is kept
		b.n.overflow.Force(m.payer(), cost(m))
	default:
		if w.given = b.n.overflow.Take(m.payer(), cost(m)); w.given != nil {
			w.room, w.change = b.room.Next(), change
			if w.patience == nil {
				w.patience = time.NewTimer(overflowWait)
			}
			return false
		}
	}
	m.overflows = true
	return true
}

// recount counts, now that there may be more room, as much of the overflow as the mailbox has room
// for as within its limit; b.mu is held.
func (b *Mailbox) recount() {
	for b.overflow.count > 0 && b.spawned == nil {
		next := b.queue[len(b.queue)-b.overflow.count]
		if within := b.bytes - b.overflow.bytes; within > 0 && within+cost(next) > b.opts.Limit {
			return
		}
		b.restore(next)
	}
}

// restore counts the oldest message that overflows as one that does not.
func (b *Mailbox) restore(m *Message) {
	b.overflow.restored++
	b.overflow.count--
	b.overflow.bytes -= cost(m)
	b.giveBack(m)
}

// giveBack is restore for a message that goes ahead.
func (b *Mailbox) giveBack(m *Message) {
	m.overflows = false
	b.room.Ring()
	b.n.overflow.Give(m.payer(), cost(m))
}

// restoreAll counts no overflow any more: the mailbox has ended, or gives its queue away. b.mu is
// held.
func (b *Mailbox) restoreAll() {
	for b.overflow.count > 0 {
		b.restore(b.queue[len(b.queue)-b.overflow.count])
	}
	for _, m := range b.ahead.messages {
		if m.overflows {
			b.giveBack(m)
		}
	}
}

// discard drops what overflows; b.mu is held.
func (b *Mailbox) discard() {
	b.n.stats.undeliverable.Add(int64(b.overflow.count))
	for range b.ahead.len() {
		if m := b.ahead.take(); m.overflows {
			b.n.stats.undeliverable.Add(1)
			b.giveBack(m)
		} else {
			b.ahead.add(m)
		}
	}
	keep := len(b.queue) - b.overflow.count
	b.bytes -= b.overflow.bytes
	b.restoreAll()
	clear(b.queue[keep:])
	b.queue = b.queue[:keep]
}

// unlockTellingOfOverflow releases b.mu, and logs, from time to time, that the mailbox is over its
// limit, and what comes next. m has just been put into it.
func (b *Mailbox) unlockTellingOfOverflow(m *Message) {
	tell := b.overflow.count > 0 && (b.spawned == nil || b.bytes > b.opts.Limit) && time.Since(b.overflow.told) > overflowQuiet
	if tell {
		b.overflow.told = time.Now()
	}
	var full func(peer string, bytes int)
	if h := b.n.meter.Load(); h != nil && m.overflows && (b.spawned == nil || b.bytes > b.opts.Limit) {
		full = h.Overflow
	}
	peer, bytes := m.payer(), 0
	if full != nil {
		bytes = cost(m)
	}
	b.mu.Unlock() // now m is whoever's who receives it
	if full != nil {
		full(peer, bytes)
	}
	if tell {
		next := fmt.Sprintf("messages of %s are kept until they take its share of Config.OverflowLimit; then it is not read for up to %v, "+
			"and if that makes no room, the mailbox with the most of its share ends (mailbox_full)", cmp.Or(peer, "this node"), overflowWait)
		b.n.mishaps.Log(b.n.log, slog.LevelWarn, "mailbox over its limit", "error", b.unreceived(), "next", next)
	}
}

// unreceived tells which mailbox is full, for the log, and which options bound it.
func (b *Mailbox) unreceived() error {
	names, limit := fmt.Sprint(" ", b.n.procs.namesOf(b)), "MailboxOptions.Limit"
	if b.spawned != nil {
		names, limit = ", a function that waits for its place,", "its limit (Mailbox.SetLimit)"
		if f := b.n.procs.runs.calledBy(b.spawned); f != "" {
			names = fmt.Sprintf(", the process of function %s,", f)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Errorf("nobody receives from %v%s or not fast enough: %d messages, %d bytes; %s is %d, Config.OverflowLimit %d", b.pid, names,
		len(b.unread()), b.bytes+b.ahead.bytes, limit, b.opts.Limit, b.n.overflow.Size())
}

// blocks tells whether senders wait at the limit.
func (b *Mailbox) blocks() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opts.Full == FullBlock
}

// exitFull ends the mailbox because it is full.
func (b *Mailbox) exitFull() {
	err, name := b.unreceived(), b.n.nameOf(b)
	_ = b.lockBefore(context.Background(), life.Ending)
	if b.ended() {
		b.mu.Unlock()
		return
	}
	if !b.serves { // a Server's messages end with it
		b.discard()
	}
	b.n.stats.mailboxesFull.Add(1)
	notices := b.endUnlock(mailboxFull)
	if m := b.n.meter.Load(); m != nil && m.MailboxFull != nil {
		m.MailboxFull(name)
	}
	b.n.mishaps.Log(b.n.log, slog.LevelError, "mailbox ended, since it is full", "error", err)
	b.notifyEnd(notices, scope{})
}

// A roomWait is a sender's wait for room in a mailbox; the channels are nil for what it does not
// wait for.
type roomWait struct {
	// the overflow after which it is the sender's turn: see overflow.restored; 0: none
	turn                int
	patience            *time.Timer // nil: the sender waits as long as it likes
	room, given, change <-chan struct{}
}

// wait waits until there may be room for a message; false if the mailbox has ended or the wait was
// cancelled.
func (w *roomWait) wait(b *Mailbox, m *Message, cancel <-chan struct{}) bool {
	var late <-chan time.Time
	if w.patience != nil {
		late = w.patience.C
	}
	select {
	case <-w.room:
	case <-w.given:
	case <-w.change:
	case <-b.Done():
		return false
	case <-cancel:
		return false
	case <-late:
		b.n.procs.fullest(b, m.payer()).exitFull()
		w.patience.Reset(overflowWait)
	}
	return true
}

func (w *roomWait) end() {
	if w.patience != nil {
		w.patience.Stop()
	}
}

// fullest is the mailbox with the most overflow of a peer; b if there is none.
func (p *processes) fullest(b *Mailbox, peer string) *Mailbox {
	most := 0
	for _, other := range p.all() {
		if bytes := other.overflowOf(peer); bytes > most {
			b, most = other, bytes
		}
	}
	return b
}

// overflowOf is how many bytes of the overflow are a peer's.
func (b *Mailbox) overflowOf(peer string) (bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, of := range [][]*Message{b.queue[len(b.queue)-b.overflow.count:], b.ahead.messages} {
		for _, m := range of {
			if m.overflows && m.payer() == peer {
				bytes += cost(m)
			}
		}
	}
	return bytes
}
