package nodes

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A connection that moves alone leaves the servers of its node behind, and with them the requests
// that its peer has made of them. A server cannot answer without the connection, so the freeze
// waits until it has answered.

// A request is the message that a server handles, as far as its connection is concerned. It is
// guarded by the mailbox's mutex.
type request struct {
	conn *Conn // the connection whose peer may wait for an answer; nil: none does
	owed bool  // a freeze of conn waits for the answer
}

// takeServed is take for a Server: it returns nil also if the process has ended.
func (b *Mailbox) takeServed() *Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return nil
	}
	m := b.takeLocked()
	if m != nil {
		b.runs.Store(true)
		b.serving = request{m.conn, m.owed}
		m.owed = false
		if b.backlog > 0 {
			if b.backlog--; b.backlog == 0 {
				b.n.life.Work.Leave() // the server itself runs, until it has handled m
			}
		}
	}
	return m
}

// keepBacklog has the Server handle what it has not taken yet although the node shuts down: it
// waits for that as for what runs. One that is suspended would not come to it.
func (b *Mailbox) keepBacklog() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.backlog > 0 || !b.serves || b.ended() || b.isSuspended() {
		return
	}
	if b.backlog = len(b.unread()); b.backlog > 0 {
		b.n.life.Work.Enter()
	}
}

// markServed notes that the message in hand has been answered, or needs no answer.
func (b *Mailbox) markServed() {
	b.mu.Lock()
	r := b.serving
	b.serving = request{}
	b.mu.Unlock()
	if r.owed {
		r.conn.works.Leave()
	}
}

// retire is served for all messages: the Server has ended, and answers nothing any more.
func (b *Mailbox) retire() {
	b.markServed()
	b.mu.Lock()
	b.serves = false
	if b.backlog > 0 {
		b.backlog = 0
		b.n.life.Work.Leave()
	}
	var left []*Conn
	for _, m := range b.unread() {
		if m.owed {
			m.owed = false
			left = append(left, m.conn)
		}
	}
	b.mu.Unlock()
	for _, c := range left {
		c.works.Leave()
	}
}

// noteUnanswered counts, among the works of the connection, the requests that have come over it and
// that the Server has not answered; of a Handler's messages all.
func (b *Mailbox) noteUnanswered(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.serves {
		return
	}
	if r := &b.serving; r.conn == c && !r.owed {
		r.owed = true
		c.works.Enter()
	}
	for _, m := range b.unread() {
		if m.conn != c || m.owed {
			continue
		}
		if _, _, _, ok := otp.GenCall(m.Payload); ok || b.handles {
			m.owed = true
			c.works.Enter()
		}
	}
}

// begin counts the mailbox's server as running, before the server takes the next message. false:
// the server is to take none, for the mailbox has ended, or the node shuts down.
//
// Shutdown and freeze wait for the functions and handlers that run, and one of these may wait for
// an answer of this server. So as long as one runs the server goes on with what processes of this
// node have sent. While the node drains it takes messages if a request of such a process is unread;
// otherwise the server waits here: for another phase, a message, or the end of the mailbox.
func (b *Mailbox) begin() bool {
	l := &b.n.life
	for !b.ended() {
		if l.Phase() < life.Draining {
			begun := l.Begin(false) || b.beginLast()
			if !begun || l.Phase() < life.Draining {
				return begun
			}
			l.Work.Leave() // whoever drains may not have seen it
		}
		phase, change := l.State()
		switch {
		case phase < life.Draining:
			continue
		case b.isAsked() && l.Work.Join():
			return true
		}
		select {
		case <-change:
		case <-b.comes(): // a message has come
		case <-b.Done():
		}
	}
	return false
}

// beginLast is begin in a node that shuts down: for what had come before, then as long as others
// run, if a request of a process of this node is unread, or the oldest unread message is from one,
// since a later request may rely on it.
func (b *Mailbox) beginLast() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.backlog > 0 {
		b.n.life.Work.Enter()
		return true
	}
	here := b.asked != nil || b.hasUnread() && b.unread()[0].conn == nil
	return here && b.n.life.Work.Join()
}

// isAsked tells whether a request from a process of this node is unread.
func (b *Mailbox) isAsked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked != nil
}

// rest notes that the Server handles no message at present.
func (b *Mailbox) rest() {
	b.runs.Store(false)
	if b.n.life.Refuses() {
		b.part()
	}
}

// part ends the process for others than those in this process of the operating system, if the node
// stops, and it has handled what it has received: there it is gone from now on. Here, what still
// runs may need it.
func (b *Mailbox) part() {
	b.mu.Lock()
	busy := b.backlog > 0 || b.runs.Load() || b.later.Load() > 0
	if !b.serves || b.opts.lasting || b.parted || busy || b.ended() || b.n.State() != StateStopping || !b.n.life.Refuses() {
		b.mu.Unlock()
		return
	}
	b.parted = true
	notices := b.exitNotices(ei.Atom("shutdown"), false)
	for pid := range b.links.all("") {
		if !b.n.isHere(b.n.scopeOf(pid)) {
			b.links.remove(pid.Node, pid)
		}
	}
	for id, w := range b.watchers.all("") {
		if !b.n.isHere(b.n.scopeOf(w.pid)) {
			b.watchers.remove(id.node, id)
		}
	}
	b.mu.Unlock()
	b.notifyEnd(notices, scope{})
}

// leaveForLater counts a call that has no answer yet for the process that is to answer it; b may be
// nil.
func (c *Call) leaveForLater(b *Mailbox) {
	if b == nil {
		return
	}
	b.later.Add(1)
	c.later.Store(b)
	if c.replied.Load() { // meanwhile
		c.isAnswered()
	}
}

// isAnswered notes that the call has its answer.
func (c *Call) isAnswered() {
	if b := c.later.Swap(nil); b != nil {
		b.later.Add(-1)
		if b.n.life.Refuses() {
			b.part()
		}
	}
}
