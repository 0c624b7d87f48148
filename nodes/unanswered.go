package nodes

import "github.com/cnode-go/cnode/nodes/internal/otp"

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
		b.serving = request{m.conn, m.owed}
		m.owed = false
		if b.backlog > 0 {
			if b.backlog--; b.backlog == 0 {
				b.n.procs.running.Leave() // the server itself runs, until it has handled m
			}
		}
	}
	return m
}

// keepBacklog has the Server handle what it has not taken yet although the node drains: the node
// waits for that as for what runs.
func (b *Mailbox) keepBacklog() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.backlog > 0 || !b.serves || b.ended() {
		return
	}
	if b.backlog = len(b.queue) - b.first; b.backlog > 0 {
		b.n.procs.running.Enter()
	}
}

// hasBacklog tells whether the Server is still to handle what came before the node drained.
func (b *Mailbox) hasBacklog() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backlog > 0
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
		b.n.procs.running.Leave()
	}
	var left []*Conn
	for _, m := range b.queue[b.first:] {
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
	for _, m := range b.queue[b.first:] {
		if m.conn != c || m.owed {
			continue
		}
		if _, _, _, ok := otp.GenCall(m.Payload); ok || b.handles {
			m.owed = true
			c.works.Enter()
		}
	}
}

// begin counts b's server as running, before the server takes the next message. false: the server
// is to take none, for b has ended, or the node drains and b has no backlog.
//
// Drain and freeze wait for the functions and handlers that run, and one of these may wait for an
// answer of this server. So as long as one runs, the server goes on with what processes of this
// node have sent:
//
//   - The node drains: if a request of such a process is unread, or the oldest unread message is
//     from one, since a later request may rely on it.
//   - Servers rest: if a request of such a process is unread. Otherwise the server waits here: for
//     the end of the rest, a message, or the end of b.
func (p *processes) begin(b *Mailbox) bool {
	for !b.ended() {
		shut, change := p.resting.State()
		switch {
		case !shut && b.hasBacklog():
			p.running.Enter()
			return true
		case !shut && !p.busy(b.isAsked() || b.nextIsHere()):
			return false
		case !shut && !p.resting.IsShut():
			return true
		case !shut:
			// a rest has begun, and the goroutine that waits for the tally may have looked before
			// this server was counted
			p.running.Leave()
			continue
		case b.isAsked() && p.running.Join():
			return true
		}
		select {
		case <-change:
		case <-b.ready: // a message has come
		case <-b.over:
		}
	}
	return false
}

// isAsked tells whether a request from a process of this node is unread.
func (b *Mailbox) isAsked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked != nil
}

// nextIsHere tells whether the oldest unread message is from a process of this node.
func (b *Mailbox) nextIsHere() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first < len(b.queue) && b.queue[b.first].conn == nil
}
