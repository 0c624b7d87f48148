package nodes

import (
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// How messages get into a mailbox, in order:
//
//	deliver     what was sent, once there is room, as the options say; the reply to a call of the mailbox's goes to that call
//	put         the same without a look for such a call
//	notifyFrom  signals: a peer's wait for room, too, those of this process do not
//	notify      signals of this process

// A fate is the outcome of an attempt to give a message to a process.
type fate uint8

const (
	delivered fate = iota // the message is the process's
	refused               // the process has ended, or the delivery was cancelled
	notYet                // the process is held, or was until just now: the delivery is to be tried again
)

// cost is what a message counts towards the limit: the buffer of its frame, which it keeps whole, or its terms if it has no such buffer.
func cost(m *Message) int {
	terms := cap(m.Payload) + cap(m.Reason) + cap(m.Token) + cap(m.Options) + cap(m.Result)
	return messageCost + max(terms, cap(m.buf))
}

// wakeReceiver leaves a token for a receiver; b.mu is held.
func (b *Mailbox) wakeReceiver() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// deliver puts a message into the mailbox, waiting for room as the options say, until cancel is closed. It is false when the mailbox has
// ended or the wait was cancelled.
func (b *Mailbox) deliver(m *Message, cancel <-chan struct{}) bool {
	return b.takeReply(m, cancel) || b.put(m, cancel)
}

// put is deliver for a message that is not the reply to a call that the mailbox has made.
func (b *Mailbox) put(m *Message, cancel <-chan struct{}) bool {
	if b.handler != nil {
		return b.giveTo((*Mailbox).handle, m, cancel)
	}
	for {
		b.mu.Lock()
		if b.ended() {
			b.mu.Unlock()
			return false
		}
		if b.held.Load() {
			b.mu.Unlock()
			if f := b.deliverHeld(m, cancel); f != notYet {
				return f == delivered
			}
			continue
		}
		room, change, full := b.noRoom(m)
		if full != nil {
			b.mu.Unlock()
			b.exitBy(m.conn, full)
			return false
		}
		if room == nil {
			b.pushLocked(m)
			b.mu.Unlock()
			return true
		}
		b.mu.Unlock()
		if !b.awaitRoom(m.conn, room, change, cancel) {
			return false
		}
	}
}

// noRoom says why m cannot be put into the mailbox now: it has to wait until one of the two channels is closed, or ends the process with
// reason full. If all three are nil there is room. b.mu is held.
func (b *Mailbox) noRoom(m *Message) (room, change <-chan struct{}, full ei.Term) {
	if b.bytes == 0 || b.bytes+cost(m) <= b.opts.Limit {
		return nil, nil, nil
	}
	if b.opts.Full == FullExit {
		return nil, nil, ei.Atom("mailbox_full")
	}
	halts, change := m.conn.halts()
	if halts { // its connection is to halt: what was read already is kept in the mailbox, over its limit
		return nil, nil, nil
	}
	return b.room.Next(), change, nil
}

// fullTold is how long a full mailbox keeps a peer from being read before that is logged.
const fullTold = time.Second

// awaitRoom waits until one of the first two channels is closed; false if the mailbox has ended or the wait was cancelled. c is the
// connection that is not read meanwhile.
func (b *Mailbox) awaitRoom(c *Conn, room, change, cancel <-chan struct{}) bool {
	var late <-chan time.Time
	if c != nil {
		t := time.NewTimer(fullTold)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case <-room:
			return true
		case <-change:
			return true
		case <-b.over:
			return false
		case <-cancel:
			return false
		case <-late:
			c.complain(fullMailbox, "peer not read while a mailbox is full", b.unreceived())
		}
	}
}

// unreceived tells which mailbox is full, for the log.
func (b *Mailbox) unreceived() error {
	names := b.n.procs.namesOf(b)
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Errorf("nobody receives from %v %v: %d messages, %d bytes, and MailboxOptions.Limit is %d", b.pid, names,
		len(b.queue)-b.first, b.bytes, b.opts.Limit)
}

// giveTo gives a message to handle. While the process is held it waits, and then tries again.
func (b *Mailbox) giveTo(handle func(*Mailbox, *Message) fate, m *Message, cancel <-chan struct{}) bool {
	for {
		f := handle(b, m)
		if f == notYet {
			f = b.deliverHeld(m, cancel)
		}
		if f != notYet {
			return f == delivered
		}
	}
}

func (b *Mailbox) pushLocked(m *Message) {
	if b.first > 64 && b.first > len(b.queue)/2 { // keep a queue that never becomes empty from growing
		n := copy(b.queue, b.queue[b.first:])
		clear(b.queue[n:])
		b.queue, b.first = b.queue[:n], 0
	}
	b.queue = append(b.queue, m)
	b.bytes += cost(m)
	if b.serves && m.conn == nil {
		if _, _, _, ok := genCall(m.Payload); ok {
			b.asked = m
		}
	}
	b.wakeReceiver()
}

// notifyFrom puts a signal's message into the mailbox. If it is from another node it waits for room like any message, since a peer may send
// any number of signals. It is false when the mailbox has gone on in another process, or the connection has ended before there was room.
func (b *Mailbox) notifyFrom(c *Conn, m *Message) bool {
	if c == nil {
		return b.notify(m)
	}
	return b.deliver(m, c.done)
}

// notify puts a signal's message into the mailbox whatever its limit; false when the mailbox has gone on in another process.
func (b *Mailbox) notify(m *Message) bool {
	if b.handler != nil {
		return b.giveTo((*Mailbox).handleApart, m, nil) || !b.hasMoved()
	}
	b.lock()
	defer b.mu.Unlock()
	if b.ended() {
		return !b.hasMoved()
	}
	b.pushLocked(m)
	return true
}
