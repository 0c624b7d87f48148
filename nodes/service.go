package nodes

import (
	"context"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A connection that moves alone leaves the servers of its node behind, and with them the requests
// that its peer has made of them. A server cannot answer without the connection, so the freeze
// waits until it has answered.

// A service is the life of a Server, or a Handler: which messages it has begun, answered and left
// for later, and how it stops with its node. Of any other mailbox it has only b. It is guarded by
// the mailbox's mutex, unless said otherwise.
type service struct {
	b       *Mailbox
	is      bool // the mailbox belongs to a Server, or a Handler …
	handler bool // … to a Handler, any of whose messages may be a request
	// restored, and in the process before the mailbox belonged to one
	before bool
	code   uintptr      // of a function of the Server, or of the Handler
	runs   atomic.Bool  // it handles a message; set with mu held
	later  atomic.Int32 // how many calls it has left for later
	cancel func()       // ends the context of its functions
	conn   *Conn        // whose peer may wait for an answer to what it handles; nil: none does
	owed   bool         // a freeze of conn waits for the answer
	asked  *Message     // the latest unread request from a process of this node
	// the node shuts down: so many messages it is still to handle
	backlog int
	parted  bool // the node shuts down: the process has ended for others than those of this process
}

// isBusy tells whether it has something to do, or to answer.
func (v *service) isBusy() bool { return v.backlog > 0 || v.runs.Load() || v.later.Load() > 0 }

// take is Mailbox.take for the Server, which handles the message now: it returns nil also if the
// process has ended.
func (v *service) take() *Message {
	b := v.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return nil
	}
	m := b.takeLocked()
	if m == nil {
		return nil
	}
	v.runs.Store(true)
	v.conn, v.owed, m.owed = m.conn, m.owed, false
	if v.backlog > 0 {
		if v.backlog--; v.backlog == 0 {
			b.n.life.Work.Leave() // the server itself runs, until it has handled m
		}
	}
	return m
}

// atEnd arranges for cancel to be called when the process ends, or at once if it has ended.
func (v *service) atEnd(cancel func()) {
	v.b.mu.Lock()
	v.cancel = cancel
	v.b.mu.Unlock()
	if v.b.ended() {
		cancel()
	}
}

// keepBacklog has the Server handle what it has not taken yet although the node shuts down: it
// waits for that as for what runs. One that is suspended would not come to it.
func (v *service) keepBacklog() {
	b := v.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.backlog > 0 || !v.is || b.ended() || b.inbox.IsPartly() {
		return
	}
	if v.backlog = b.inbox.Len(); v.backlog > 0 {
		b.n.life.Work.Enter()
	}
}

// answered notes that the message in hand has been answered, or needs no answer.
func (v *service) answered() {
	v.b.mu.Lock()
	c, owed := v.conn, v.owed
	v.conn, v.owed = nil, false
	v.b.mu.Unlock()
	if owed {
		c.works.Leave()
	}
}

// end is called when the Server has ended: it answers nothing any more.
func (v *service) end() {
	v.answered()
	b := v.b
	b.mu.Lock()
	defer b.mu.Unlock()
	v.is = false
	if v.backlog > 0 {
		v.backlog = 0
		b.n.life.Work.Leave()
	}
}

// noteUnanswered counts, among the works of the connection, the requests that have come over it and
// that the Server has not answered; of a Handler's messages all.
func (b *Mailbox) noteUnanswered(c *Conn) {
	v := &b.served
	b.mu.Lock()
	defer b.mu.Unlock()
	if !v.is {
		return
	}
	if v.conn == c && !v.owed {
		v.owed = true
		c.works.Enter()
	}
	for e := range b.inbox.Entries() {
		if e.Message.conn != c || e.Message.owed {
			continue
		}
		if v.handler || otp.IsCall(e.Message.Payload) {
			e.Message.owed = true
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
func (v *service) begin() bool {
	b := v.b
	l := &b.n.life
	for !b.ended() {
		if l.Phase() < life.Draining {
			begun := l.Begin(false) || v.beginLast()
			if !begun || l.Phase() < life.Draining {
				return begun
			}
			l.Work.Leave() // whoever drains may not have seen it
		}
		phase, change := l.State()
		switch {
		case phase < life.Draining:
			continue
		case v.isAsked() && l.Work.Join():
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
func (v *service) beginLast() bool {
	b := v.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.backlog > 0 {
		b.n.life.Work.Enter()
		return true
	}
	here := v.asked != nil
	if first, ok := b.inbox.First(); ok {
		here = here || first.conn == nil
	}
	return here && b.n.life.Work.Join()
}

// isAsked tells whether a request from a process of this node is unread.
func (v *service) isAsked() bool {
	v.b.mu.Lock()
	defer v.b.mu.Unlock()
	return v.asked != nil
}

// rest notes that the Server handles no message at present.
func (v *service) rest() {
	v.runs.Store(false)
	if v.b.n.life.Refuses() {
		v.part()
	}
}

// part ends the process for others than those in this process of the operating system, if the node
// stops, and it has handled what it has received: there it is gone from now on. Here, what still
// runs may need it.
func (v *service) part() {
	b := v.b
	b.mu.Lock()
	stays := !v.is || b.opts.lasting || v.parted || v.isBusy() || b.ended()
	if stays || b.n.State() != StateStopping || !b.n.life.Refuses() {
		b.mu.Unlock()
		return
	}
	v.parted = true
	notices := b.exitNotices(ei.Atom("shutdown"), false)
	b.bonds.Part(func(pid ei.Pid) bool { return !b.n.isHere(b.n.scopeOf(pid)) })
	b.mu.Unlock()
	b.notifyEnd(notices, bonds.Scope{})
}

// leaveForLater counts a call that has no answer yet for the process that is to answer it; b may be
// nil.
func (c *Call) leaveForLater(b *Mailbox) {
	if b == nil {
		return
	}
	b.served.later.Add(1)
	if c.conn != nil && b.own == nil { // what the node's own have left for later runs, and is waited for
		c.over = c.conn
		c.over.later.Enter()
		c.awaited(b, true)
	}
	c.later.Store(b)
	if c.replied.Load() { // meanwhile
		c.isAnswered()
	}
}

// isAnswered notes that the call has its answer.
func (c *Call) isAnswered() {
	b := c.later.Swap(nil)
	if b == nil {
		return
	}
	b.served.later.Add(-1)
	if c.over != nil {
		c.over.later.Leave()
		c.awaited(b, false)
	}
	if b.n.life.Refuses() {
		b.served.part()
	}
}

// awaited notes, with the caller's monitor of b, whether the caller waits. So it is noted no longer
// than the caller has the monitor, and moves with that.
func (c *Call) awaited(b *Mailbox, is bool) {
	if ref := otp.MonitorOf(c.tag); ref.Len > 0 {
		b.mu.Lock()
		b.bonds.Await(bonds.MonitorID{Ref: ref, Node: c.From.Node}, is)
		b.mu.Unlock()
	}
}

// awaitLater waits a little for the answers to calls that have come over connections and have been
// left for later. What has no answer by then is not waited for: see forsake.
func (n *Node) awaitLater(ctx context.Context, conns ...*Conn) {
	grace, cancel := context.WithTimeout(ctx, n.shakeTime)
	defer cancel()
	for _, c := range conns {
		_ = c.later.Wait(grace)
	}
}

// forsake tells callers whose calls were left for later in the process before, and which nobody
// goes on with here, that there is no answer.
func (b *Mailbox) forsake(callers []states.Watcher) {
	for _, s := range callers {
		id := bonds.MonitorID{Ref: s.Ref, Node: s.Pid.Node}
		b.mu.Lock()
		w, waits := b.bonds.Watcher(id)
		if waits = waits && !w.Awaits; waits {
			b.bonds.TakeDemonitor(id)
		}
		b.mu.Unlock()
		if waits {
			b.n.tell(bonds.Down(b.pid, w, s.Ref, exitReason(ei.Atom("shutdown"))))
		}
	}
}
